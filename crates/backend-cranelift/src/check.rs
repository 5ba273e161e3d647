//! What has to hold of a unit before any of it is given to Cranelift, which panics on some of it.

use crate::error::Error;
use crate::libcalls::libcall;
use crate::unit::{DATA, DataContents, FUNCTIONS, FunctionUnit, Linkage, SymbolId, Unit};
use cranelift_codegen::ir::{ExternalName, Function, GlobalValueData};
use std::collections::HashSet;

/// Alignment beyond a page is not kept by every memory that code is placed in.
const MAX_ALIGNMENT: u64 = 4096;

/// The width of an address among data.
const WORD: usize = 8;

/// Checks the symbols and data of `unit`; bodies are checked by [`bind`].
pub(crate) fn check(unit: &Unit) -> Result<(), Error> {
    let mut names = HashSet::new();
    let mut name_is_good = |name: &String| {
        if name.is_empty() || name.contains('\0') {
            return Err(Error::Name { name: name.clone() });
        }
        if !names.insert(name.clone()) {
            return Err(Error::Duplicate { name: name.clone() });
        }
        Ok(())
    };
    for function in &unit.functions {
        name_is_good(&function.name)?;
        definition(&function.name, function.linkage, function.clif.is_some())?;
        if let Some(clif) = &function.clif
            && clif.signature != function.signature
        {
            return Err(Error::Signature {
                name: function.name.clone(),
                declared: function.signature.to_string(),
                defined: clif.signature.to_string(),
            });
        }
    }
    for data in &unit.data {
        name_is_good(&data.name)?;
        definition(&data.name, data.linkage, data.contents.is_some())?;
        if let Some(contents) = &data.contents {
            contents_are_good(unit, contents).map_err(|reason| Error::Data {
                name: data.name.clone(),
                reason,
            })?;
        }
    }
    Ok(())
}

fn definition(name: &str, linkage: Linkage, is_defined: bool) -> Result<(), Error> {
    let name = name.to_owned();
    if linkage != Linkage::Import && libcall(&name).is_some() {
        // An object has one symbol of a name, and Cranelift would call this one.
        return Err(Error::ReservedName { name });
    }
    match (linkage, is_defined) {
        (Linkage::Import, true) => Err(Error::DefinedImport { name }),
        (Linkage::Local | Linkage::Export, false) => Err(Error::Undefined { name }),
        _ => Ok(()),
    }
}

fn contents_are_good(unit: &Unit, contents: &DataContents) -> Result<(), String> {
    let DataContents {
        bytes,
        alignment,
        relocations,
        ..
    } = contents;
    if !alignment.is_power_of_two() || *alignment > MAX_ALIGNMENT {
        return Err(format!(
            "has the alignment {alignment}, which is no power of two up to {MAX_ALIGNMENT}"
        ));
    }
    for relocation in relocations {
        let end = (relocation.offset as usize).checked_add(WORD);
        if end.is_none_or(|end| end > bytes.len()) {
            return Err(format!(
                "is of {} bytes and has an address at offset {}, beyond its end",
                bytes.len(),
                relocation.offset
            ));
        }
        if unit.name(relocation.symbol).is_none() {
            return Err(format!(
                "refers to {:?}, a symbol of another unit",
                relocation.symbol
            ));
        }
    }
    let mut offsets: Vec<u32> = relocations
        .iter()
        .map(|relocation| relocation.offset)
        .collect();
    offsets.sort_unstable();
    let overlap = offsets
        .iter()
        .zip(offsets.iter().skip(1))
        .find(|(a, b)| (**b - **a) < WORD as u32);
    match overlap {
        Some((a, b)) => Err(format!(
            "has addresses at offsets {a} and {b}, which overlap"
        )),
        None => Ok(()),
    }
}

/// How code reaches the symbols of its own unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// By their distance: a unit's code and data are linked into one image.
    Distance,
    /// By their address: nothing is known of where the parts of the unit will lie.
    Address,
}

/// The body of `function` as Cranelift is given it: a copy whose references have been checked, and go
/// straight to the unit's own symbols or through a slot to imported ones.
pub(crate) fn bind(
    unit: &Unit,
    function: &FunctionUnit,
    clif: &Function,
    reach: Reach,
) -> Result<Function, Error> {
    let mut clif = clif.clone();
    let names = clif.params.user_named_funcs().clone();
    let resolve = |name: &ExternalName| match name {
        ExternalName::User(reference) => {
            let name = names.get(*reference).ok_or("has no name")?;
            let symbol = match (name.namespace, name.index as usize) {
                (FUNCTIONS, index) => unit.functions.get(index).map(|unit| unit.linkage),
                (DATA, index) => unit.data.get(index).map(|unit| unit.linkage),
                _ => None,
            };
            let linkage = symbol.ok_or("is to a symbol of another unit")?;
            Ok((
                name.namespace,
                linkage != Linkage::Import && reach == Reach::Distance,
            ))
        }
        ExternalName::LibCall(_) => Ok((FUNCTIONS, false)),
        ExternalName::TestCase(_) => Err("is by a name for Cranelift's own tests"),
        ExternalName::KnownSymbol(_) => Err("is to a symbol of the system's linker"),
    };
    let complaint = |reference: String, reason| Error::Reference {
        function: function.name.clone(),
        reference,
        reason,
    };

    for (reference, data) in &mut clif.stencil.dfg.ext_funcs {
        let text = || format!("{reference} = {}", data.name.display(None));
        data.colocated = match resolve(&data.name) {
            Ok((FUNCTIONS, colocated)) => colocated,
            Ok(_) => return Err(complaint(text(), "calls data")),
            Err(reason) => return Err(complaint(text(), reason)),
        };
    }
    for (value, data) in &mut clif.stencil.global_values {
        let GlobalValueData::Symbol {
            name,
            offset,
            colocated,
            tls,
        } = data
        else {
            continue;
        };
        let text = || format!("{value} = symbol {}", name.display(None));
        if *tls {
            return Err(complaint(text(), "is thread-local"));
        }
        // Cranelift panics on larger ones when it makes position-independent code.
        if i32::try_from(offset.bits()).is_err() {
            return Err(complaint(text(), "has an offset beyond 32 bits"));
        }
        *colocated = match resolve(name) {
            Ok((_, colocated)) => colocated,
            Err(reason) => return Err(complaint(text(), reason)),
        };
    }
    Ok(clif)
}

/// The symbol that a module's relocation of `namespace` and `index` refers to.
pub(crate) fn symbol_at(namespace: u32, index: u32) -> Option<SymbolId> {
    use crate::unit::{DataId, FunctionId};
    match namespace {
        FUNCTIONS => Some(FunctionId(index).into()),
        DATA => Some(DataId(index).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cranelift_codegen::ir::immediates::Imm64;
    use cranelift_codegen::ir::{ExtFuncData, Signature};
    use cranelift_codegen::isa::CallConv;

    fn signature() -> Signature {
        Signature::new(CallConv::SystemV)
    }

    #[test]
    fn names_and_definitions() {
        for name in ["", "a\0b"] {
            let mut unit = Unit::new();
            unit.import_word(name);
            assert!(matches!(check(&unit), Err(Error::Name { .. })));
        }
        let mut unit = Unit::new();
        unit.import_word("same");
        unit.import_function("same", &signature());
        assert_eq!(
            check(&unit),
            Err(Error::Duplicate {
                name: "same".into()
            })
        );

        let mut unit = Unit::new();
        let own = unit.declare_function("own", Linkage::Local, &signature());
        assert_eq!(check(&unit), Err(Error::Undefined { name: "own".into() }));
        unit.define_function(own, unit.new_body(own));
        assert_eq!(check(&unit), Ok(()));
        let floor = unit.declare_function("floor", Linkage::Local, &signature());
        unit.define_function(floor, unit.new_body(floor));
        assert_eq!(
            check(&unit),
            Err(Error::ReservedName {
                name: "floor".into()
            })
        );

        let mut unit = Unit::new();
        let host = unit.import_function("host", &signature());
        unit.define_function(host, unit.new_body(host));
        assert_eq!(
            check(&unit),
            Err(Error::DefinedImport {
                name: "host".into()
            })
        );
    }

    #[test]
    fn signatures_agree() {
        let mut unit = Unit::new();
        let own = unit.declare_function("own", Linkage::Export, &signature());
        let mut body = unit.new_body(own);
        body.signature.call_conv = CallConv::Tail;
        unit.define_function(own, body);
        assert!(matches!(check(&unit), Err(Error::Signature { .. })));
    }

    #[test]
    fn data_is_laid_out() {
        let refused = |contents: DataContents| {
            let mut unit = Unit::new();
            let data = unit.declare_data("data", Linkage::Local);
            unit.import_word("word");
            unit.define_data(data, contents);
            match check(&unit) {
                Err(Error::Data { reason, .. }) => reason,
                other => panic!("{other:?}"),
            }
        };
        let mut unit = Unit::new();
        unit.import_word("data");
        let word = unit.import_word("word");
        let stranger = unit.import_word("stranger");

        let unaligned = DataContents {
            alignment: 3,
            ..DataContents::constant([0; 8])
        };
        assert!(refused(unaligned).contains("alignment 3"));
        let huge = DataContents {
            alignment: 8192,
            ..DataContents::constant([0; 8])
        };
        assert!(refused(huge).contains("alignment 8192"));
        let beyond = DataContents::constant([0; 8]).with_address(1, word, 0);
        assert!(refused(beyond).contains("beyond its end"));
        let overlapping = DataContents::constant([0; 16])
            .with_address(8, word, 0)
            .with_address(1, word, 0);
        assert!(refused(overlapping).contains("overlap"));
        let foreign = DataContents::constant([0; 8]).with_address(0, stranger, 0);
        assert!(refused(foreign).contains("another unit"));
    }

    /// The reason why a body with references from `add` is refused.
    fn reason(add: impl FnOnce(&Unit, &mut Function)) -> &'static str {
        let mut unit = Unit::new();
        let own = unit.declare_function("own", Linkage::Local, &signature());
        unit.import_word("word");
        let mut body = unit.new_body(own);
        add(&unit, &mut body);
        match bind(&unit, &unit.functions[0], &body, Reach::Distance) {
            Err(Error::Reference { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    fn call(body: &mut Function, name: ExternalName) {
        let signature = body.import_signature(signature());
        body.import_function(ExtFuncData {
            name,
            signature,
            colocated: true,
            patchable: false,
        });
    }

    #[test]
    fn references_lead_somewhere() {
        let mut other = Unit::new();
        other.import_word("a");
        let stranger = other.import_word("b");
        assert_eq!(
            reason(|_, body| {
                other.global_value(stranger, body);
            }),
            "is to a symbol of another unit"
        );
        assert_eq!(
            reason(|unit, body| {
                let word = unit.symbol("word").unwrap().clif_name();
                let name = ExternalName::user(body.declare_imported_user_function(word));
                call(body, name);
            }),
            "calls data"
        );
        assert_eq!(
            reason(|_, body| call(body, ExternalName::testcase("x"))),
            "is by a name for Cranelift's own tests"
        );
        assert_eq!(
            reason(|unit, body| {
                let value = unit.global_value(unit.symbol("word").unwrap(), body);
                let GlobalValueData::Symbol { offset, .. } = &mut body.global_values[value] else {
                    unreachable!("just made as a symbol");
                };
                *offset = Imm64::new(1 << 40);
            }),
            "has an offset beyond 32 bits"
        );
        assert_eq!(
            reason(|unit, body| {
                let value = unit.global_value(unit.symbol("word").unwrap(), body);
                let GlobalValueData::Symbol { tls, .. } = &mut body.global_values[value] else {
                    unreachable!("just made as a symbol");
                };
                *tls = true;
            }),
            "is thread-local"
        );
    }

    #[test]
    fn linkage_decides_how_a_symbol_is_reached() {
        let mut unit = Unit::new();
        let own = unit.declare_function("own", Linkage::Local, &signature());
        let host = unit.import_function("host", &signature());
        let mut body = unit.new_body(own);
        let (own, host) = (
            unit.func_ref(own, &mut body),
            unit.func_ref(host, &mut body),
        );
        body.dfg.ext_funcs[own].colocated = false;
        body.dfg.ext_funcs[host].colocated = true;
        let near = bind(&unit, &unit.functions[0], &body, Reach::Distance).unwrap();
        assert!(near.dfg.ext_funcs[own].colocated);
        assert!(!near.dfg.ext_funcs[host].colocated);
        let far = bind(&unit, &unit.functions[0], &body, Reach::Address).unwrap();
        assert!(!far.dfg.ext_funcs[own].colocated);
    }
}
