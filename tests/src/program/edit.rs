//! Random edits: what people do to programs between two runs.

use super::random::Random;
use super::scene::Scene;
use super::write::{File, definition, form};

/// The scene after one random edit; `earlier` are those that came before it.
pub fn edited(random: &mut Random, scene: &Scene, earlier: &[Scene]) -> Scene {
    // Some edits find nothing to change.
    for _ in 0..20 {
        let after = attempt(random, scene, earlier);
        if after != *scene {
            return after;
        }
    }
    scene.clone()
}

fn attempt(random: &mut Random, scene: &Scene, earlier: &[Scene]) -> Scene {
    let mut after = scene.clone();
    let file = match random.below(6) {
        0 => File::A,
        1 => File::B,
        _ => File::Main,
    };
    let path = file.path().to_owned();
    let Some(forms) = after.files.get_mut(&path) else {
        return after;
    };
    // The first form is the file's `ns`.
    let place = 1 + random.below(forms.len().saturating_sub(1));
    let other = 1 + random.below(forms.len().saturating_sub(1));
    if forms.len() < 3 {
        return after;
    }
    match random.weighted(&[40, 16, 12, 6, 6, 6, 6, 8, 4, 6, 5, 5, 8, 4, 3]) {
        0 => {
            if let Some(text) = with_another_number(random, &forms[place]) {
                forms[place] = text;
            }
        }
        1 => {
            let form = form(random, file, scene);
            forms.insert(place, form);
        }
        2 => forms[place] = form(random, file, scene),
        3 => forms.swap(place, other),
        4 => forms.insert(place, "; a comment\n".to_owned()),
        5 => forms[place] = laid_out_anew(random, &forms[place]),
        6 => {
            let form = forms[place].clone();
            forms.insert(other, form);
        }
        7 => drop(forms.remove(place)),
        8 => {
            let form = forms.remove(place);
            let to = [File::A, File::B, File::Main][random.below(3)];
            let forms = after.files.entry(to.path().to_owned()).or_default();
            let at = 1 + random.below(forms.len());
            forms.insert(at.min(forms.len()), form);
        }
        9 => {
            forms.insert(other, definition(random, file, scene));
        }
        10 => {
            let name = random.pick(&["one.txt", "two.txt"]);
            let content = random.chance(75).then(|| random.below(3).to_string());
            after.data.insert(name.to_owned(), content);
        }
        11 => after.setting = random.chance(75).then(|| random.below(3).to_string()),
        12 if !earlier.is_empty() => return earlier[random.below(earlier.len())].clone(),
        13 => {
            let (from, to) = (random.below(3), random.below(3));
            let kind = random.pick(&["c", "f", "m"]);
            let names = [format!("{kind}{from}"), format!("{kind}{to}")];
            for form in forms.iter_mut() {
                *form = form
                    .replace(&names[0], "renamed")
                    .replace(&names[1], &names[0]);
                *form = form.replace("renamed", &names[1]);
            }
        }
        _ => {
            let (from, to) = match random.below(3) {
                0 => (":as a", ":as b"),
                1 => ("(ns main", "(ns else"),
                _ => ("~(str ", "~(count (str 1)) ~(str "),
            };
            for form in forms.iter_mut() {
                *form = form.replace(from, to);
            }
        }
    }
    after
}

/// The form with one of its one-digit numbers changed.
fn with_another_number(random: &mut Random, form: &str) -> Option<String> {
    let bytes = form.as_bytes();
    let places: Vec<usize> = (1..bytes.len())
        .filter(|&at| bytes[at].is_ascii_digit() && b" [(\"".contains(&bytes[at - 1]))
        .collect();
    let place = *places.get(random.below(places.len()))?;
    let mut text = form.to_owned();
    text.replace_range(place..=place, &random.below(4).to_string());
    Some(text)
}

/// The form with line breaks or comments in place of some of its blanks.
fn laid_out_anew(random: &mut Random, form: &str) -> String {
    let mut text = String::new();
    let (mut in_string, mut in_comment) = (false, false);
    for letter in form.chars() {
        match letter {
            '"' if !in_comment => in_string = !in_string,
            ';' if !in_string => in_comment = true,
            '\n' => in_comment = false,
            _ => {}
        }
        match letter {
            ' ' if !in_string && !in_comment && random.chance(25) => {
                text.push_str(random.pick(&["\n", "  ", "\n   ", " ; aside\n", " #_gone ", ", "]));
            }
            _ => text.push(letter),
        }
    }
    text
}
