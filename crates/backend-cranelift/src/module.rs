//! Gives the symbols and the data of a checked unit to a module of Cranelift's, object or JIT.

use crate::error::Error;
use crate::unit::{DataContents, DataUnit, Linkage, Unit};
use cranelift_codegen::entity::EntityRef;
use cranelift_module::{
    DataDescription, DataId, FuncId, Linkage as ModuleLinkage, Module, ModuleRelocTarget,
    ModuleResult,
};

/// Declares every symbol of `unit` in `module`, which has none yet.
///
/// Bodies name symbols by their index in the unit, so the module has to number them alike; it does,
/// as it counts from zero in the order of declaration and no name comes twice.
pub(crate) fn declare(unit: &Unit, module: &mut dyn Module) -> Result<(), Error> {
    for (index, function) in unit.functions.iter().enumerate() {
        let linkage = linkage(function.linkage);
        let id = module.declare_function(&function.name, linkage, &function.signature);
        numbered_alike(&function.name, index, id)?;
    }
    for (index, data) in unit.data.iter().enumerate() {
        let writable = data
            .contents
            .as_ref()
            .is_some_and(|contents| contents.writable);
        let id = module.declare_data(&data.name, linkage(data.linkage), writable, false);
        numbered_alike(&data.name, index, id)?;
    }
    Ok(())
}

fn numbered_alike<T: EntityRef>(
    name: &str,
    index: usize,
    id: ModuleResult<T>,
) -> Result<(), Error> {
    match id {
        Ok(id) if id.index() == index => Ok(()),
        Ok(_) => Err(Error::Duplicate {
            name: name.to_owned(),
        }),
        Err(error) => Err(Error::module(name, &error)),
    }
}

fn linkage(linkage: Linkage) -> ModuleLinkage {
    match linkage {
        Linkage::Local => ModuleLinkage::Local,
        Linkage::Export => ModuleLinkage::Export,
        Linkage::Import => ModuleLinkage::Import,
    }
}

/// A function's number in the module.
pub(crate) fn function_id(index: usize) -> FuncId {
    FuncId::new(index)
}

/// A data object's number in the module.
pub(crate) fn data_id(index: usize) -> DataId {
    DataId::new(index)
}

/// The data objects of `unit` that have contents, with their index.
pub(crate) fn defined_data(unit: &Unit) -> impl Iterator<Item = (usize, &DataUnit, &DataContents)> {
    let data = unit.data.iter().enumerate();
    data.filter_map(|(index, data)| Some((index, data, data.contents.as_ref()?)))
}

/// A data object as the module takes it.
pub(crate) fn description(contents: &DataContents) -> DataDescription {
    let mut description = DataDescription::new();
    // Only writable zeros may go to `.bss`: a module puts zeros there whatever they are for, and
    // relocations have no place in a section without bytes.
    let is_bss = contents.writable
        && contents.relocations.is_empty()
        && !contents.bytes.is_empty()
        && contents.bytes.iter().all(|byte| *byte == 0);
    if is_bss {
        description.define_zeroinit(contents.bytes.len());
    } else {
        description.define(contents.bytes.clone().into_boxed_slice());
    }
    description.set_align(contents.alignment);
    for relocation in &contents.relocations {
        let name = relocation.symbol.clif_name();
        // Functions too go through the data table: only its relocations have an addend.
        let target = ModuleRelocTarget::user(name.namespace, name.index);
        let target = description.import_global_value(target);
        description.write_data_addr(relocation.offset, target, i64::from(relocation.addend));
    }
    description
}
