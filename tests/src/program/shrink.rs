//! Makes a history that shows a fault as small as it gets: fewer scenes, fewer forms, smaller forms.

use super::scene::Scene;
use std::collections::BTreeSet;

/// The smallest history that was found for which `fails` is true, with at most `tries` questions.
pub fn shrunk(history: Vec<Scene>, tries: usize, fails: &dyn Fn(&[Scene]) -> bool) -> Vec<Scene> {
    let mut shrinking = Shrinking {
        history,
        tries,
        fails,
    };
    shrinking.scenes();
    loop {
        let before = shrinking.history.clone();
        shrinking.outside();
        shrinking.forms();
        shrinking.subforms();
        shrinking.scenes();
        if shrinking.history == before || shrinking.tries == 0 {
            return shrinking.history;
        }
    }
}

struct Shrinking<'f> {
    history: Vec<Scene>,
    tries: usize,
    fails: &'f dyn Fn(&[Scene]) -> bool,
}

impl Shrinking<'_> {
    /// Takes `smaller` if it fails as well.
    fn take(&mut self, smaller: Vec<Scene>) -> bool {
        if self.tries == 0 || smaller.is_empty() || smaller == self.history {
            return false;
        }
        self.tries -= 1;
        let fails = (self.fails)(&smaller);
        if fails {
            self.history = smaller;
        }
        fails
    }

    fn scenes(&mut self) {
        let mut size = self.history.len() / 2;
        while size > 0 {
            let mut at = 0;
            while at < self.history.len() {
                let mut smaller = self.history.clone();
                smaller.drain(at..(at + size).min(smaller.len()));
                if !self.take(smaller) {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    fn outside(&mut self) {
        let names: BTreeSet<String> = self
            .history
            .iter()
            .flat_map(|s| s.data.keys().cloned())
            .collect();
        for name in names {
            self.take_each(|scene| drop(scene.data.remove(&name)));
        }
        self.take_each(|scene| scene.setting = None);
        let files: BTreeSet<String> = self
            .history
            .iter()
            .flat_map(|s| s.files.keys().cloned())
            .collect();
        for file in files {
            self.take_each(|scene| drop(scene.files.remove(&file)));
        }
    }

    fn take_each(&mut self, change: impl Fn(&mut Scene)) -> bool {
        let mut smaller = self.history.clone();
        smaller.iter_mut().for_each(change);
        self.take(smaller)
    }

    /// All different forms, by file.
    fn distinct(&self) -> Vec<(String, String)> {
        let mut found = BTreeSet::new();
        for scene in &self.history {
            for (file, forms) in &scene.files {
                found.extend(forms.iter().map(|form| (file.clone(), form.clone())));
            }
        }
        found.into_iter().collect()
    }

    /// Leaves forms out of all scenes, many at once first.
    fn forms(&mut self) {
        let mut size = 16;
        while size > 0 {
            let forms = self.distinct();
            for group in forms.chunks(size) {
                self.take_each(|scene| {
                    for (file, forms) in &mut scene.files {
                        forms.retain(|form| !group.iter().any(|(f, g)| f == file && g == form));
                    }
                });
            }
            size /= 2;
        }
        // A form that stands twice in one scene may be needed only once.
        for scene in 0..self.history.len() {
            let files: Vec<String> = self.history[scene].files.keys().cloned().collect();
            for file in files {
                let mut at = 0;
                while at < self.history[scene].files.get(&file).map_or(0, Vec::len) {
                    let mut smaller = self.history.clone();
                    if let Some(forms) = smaller[scene].files.get_mut(&file) {
                        forms.remove(at);
                    }
                    if !self.take(smaller) {
                        at += 1;
                    }
                }
            }
        }
    }

    /// Puts a number, or a part of it, in place of each part of each form.
    fn subforms(&mut self) {
        for (file, form) in self.distinct() {
            let mut current = form;
            let mut at = 0;
            while let Some((start, end)) = part(&current, at) {
                at = start + 1;
                let whole = current[start..end].to_owned();
                let inner = part(&current, start + 1).filter(|inner| inner.1 < end);
                let inner = inner.map(|(from, to)| current[from..to].to_owned());
                for instead in ["1".to_owned(), "".to_owned()].into_iter().chain(inner) {
                    let smaller = format!("{}{instead}{}", &current[..start], &current[end..]);
                    if instead.len() < whole.len()
                        && self.take_each(|scene| {
                            for form in scene.files.get_mut(&file).into_iter().flatten() {
                                if *form == current {
                                    form.clone_from(&smaller);
                                }
                            }
                        })
                    {
                        current = smaller;
                        at = start;
                        break;
                    }
                }
            }
        }
    }
}

/// The first part of a form that starts at `from` or later: a bracketed group, or a word.
fn part(form: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = form.as_bytes();
    let is_word = |byte: u8| !b"()[]{} \n\t,".contains(&byte);
    let start = (from..bytes.len()).find(|&at| {
        b"([{".contains(&bytes[at]) || is_word(bytes[at]) && (at == 0 || !is_word(bytes[at - 1]))
    })?;
    if !form.is_char_boundary(start) {
        return None;
    }
    if is_word(bytes[start]) {
        let end = (start..bytes.len()).find(|&at| !is_word(bytes[at]));
        return Some((start, end.unwrap_or(bytes.len())));
    }
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Some((start, at + 1));
        }
    }
    None
}
