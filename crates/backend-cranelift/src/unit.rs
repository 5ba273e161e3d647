//! The unit that this backend compiles: CLIF functions and data objects over one table of symbols.
//!
//! A front end declares what its code names, builds each body with `cranelift-frontend`, and gives the
//! bodies back. It never sees `cranelift-module`: the same unit becomes an object or runs in the JIT.
//!
//! Building a unit cannot fail. What is wrong with one, such as two symbols of one name or a symbol
//! without a body, is found when it is compiled, and named there.

use cranelift_codegen::ir::immediates::Imm64;
use cranelift_codegen::ir::{
    ExtFuncData, ExternalName, FuncRef, Function, GlobalValue, GlobalValueData, Signature,
    UserExternalName, UserFuncName,
};
use cranelift_codegen::isa::CallConv;
use std::collections::HashMap;
use std::fmt;

/// Namespace of functions in [`UserExternalName`]s, as `cranelift-module` has it.
pub(crate) const FUNCTIONS: u32 = 0;
/// Namespace of data in [`UserExternalName`]s, as `cranelift-module` has it.
pub(crate) const DATA: u32 = 1;

/// A function symbol of one [`Unit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId(pub(crate) u32);

/// A data symbol of one [`Unit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataId(pub(crate) u32);

/// Either sort of symbol: whatever has an address, or stands for a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SymbolId {
    /// A function.
    Function(FunctionId),
    /// A data object, or an imported word.
    Data(DataId),
}

impl From<FunctionId> for SymbolId {
    fn from(id: FunctionId) -> Self {
        Self::Function(id)
    }
}

impl From<DataId> for SymbolId {
    fn from(id: DataId) -> Self {
        Self::Data(id)
    }
}

impl SymbolId {
    /// The name by which CLIF refers to this symbol.
    pub(crate) fn clif_name(self) -> UserExternalName {
        match self {
            Self::Function(FunctionId(index)) => UserExternalName::new(FUNCTIONS, index),
            Self::Data(DataId(index)) => UserExternalName::new(DATA, index),
        }
    }
}

/// Who defines a symbol, and who sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Linkage {
    /// Defined in the unit, unknown outside it.
    Local,
    /// Defined in the unit, found by name in the loaded code.
    Export,
    /// Defined by the host.
    Import,
}

/// A function of a unit: declared, and defined unless it is imported.
#[derive(Debug, Clone)]
pub(crate) struct FunctionUnit {
    pub(crate) name: String,
    pub(crate) linkage: Linkage,
    pub(crate) signature: Signature,
    pub(crate) clif: Option<Function>,
}

/// A data object of a unit: declared, and defined unless it is imported.
#[derive(Debug, Clone)]
pub(crate) struct DataUnit {
    pub(crate) name: String,
    pub(crate) linkage: Linkage,
    pub(crate) contents: Option<DataContents>,
}

/// What a data object holds when its code is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataContents {
    /// Its bytes. All zero and writable, they take no room in the object.
    pub bytes: Vec<u8>,
    /// Its alignment in bytes: a power of two, 4096 at most.
    pub alignment: u64,
    /// Whether code may write to it. Images with writable data are not shared by equal definitions.
    pub writable: bool,
    /// Words among `bytes` that hold addresses.
    pub relocations: Vec<DataRelocation>,
}

impl DataContents {
    /// Data that code only reads, aligned to eight bytes.
    pub fn constant(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            alignment: 8,
            writable: false,
            relocations: Vec::new(),
        }
    }

    /// Data that code may change, aligned to eight bytes.
    pub fn variable(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            writable: true,
            ..Self::constant(bytes)
        }
    }

    /// Makes the eight bytes at `offset` hold the address of `symbol` plus `addend`.
    #[must_use]
    pub fn with_address(mut self, offset: u32, symbol: impl Into<SymbolId>, addend: i32) -> Self {
        self.relocations.push(DataRelocation {
            offset,
            symbol: symbol.into(),
            addend,
        });
        self
    }
}

/// Eight bytes of a data object that hold the address of a symbol, or the word it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataRelocation {
    /// Where the eight bytes begin.
    pub offset: u32,
    /// Whose address they hold.
    pub symbol: SymbolId,
    /// What is added to it.
    pub addend: i32,
}

/// One or more CLIF functions and data objects that are compiled together.
///
/// Names may hold any character but NUL; each name stands for one symbol. The signatures and bodies
/// must be of the compiler's [`call_conv`](crate::CraneliftCompiler::call_conv) or another one that
/// Cranelift has for the target.
///
/// Whether a reference goes straight to its target or through a slot is decided when the unit is
/// compiled, by the symbol's [`Linkage`]; a `colocated` that the front end set itself is overruled.
#[derive(Debug, Clone, Default)]
pub struct Unit {
    pub(crate) functions: Vec<FunctionUnit>,
    pub(crate) data: Vec<DataUnit>,
    by_name: HashMap<String, SymbolId>,
}

impl Unit {
    /// A unit without symbols.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a function. It needs a body from [`define_function`](Self::define_function) unless
    /// `linkage` is [`Linkage::Import`].
    ///
    /// Importing a name again, or a name that the unit itself declares, gives the symbol that is
    /// there, if the signatures agree.
    pub fn declare_function(
        &mut self,
        name: &str,
        linkage: Linkage,
        signature: &Signature,
    ) -> FunctionId {
        if linkage == Linkage::Import
            && let Some(&SymbolId::Function(id)) = self.by_name.get(name)
            && self.signature(id) == Some(signature)
        {
            return id;
        }
        let id = FunctionId(index(self.functions.len()));
        self.functions.push(FunctionUnit {
            name: name.to_owned(),
            linkage,
            signature: signature.clone(),
            clif: None,
        });
        self.by_name.insert(name.to_owned(), id.into());
        id
    }

    /// Declares a function of the host's: [`declare_function`](Self::declare_function) as an import.
    pub fn import_function(&mut self, name: &str, signature: &Signature) -> FunctionId {
        self.declare_function(name, Linkage::Import, signature)
    }

    /// An empty body for `function`, with its signature, to be built with a `FunctionBuilder`.
    pub fn new_body(&self, function: FunctionId) -> Function {
        Function::with_name_signature(
            UserFuncName::User(SymbolId::from(function).clif_name()),
            self.signature_or_empty(function),
        )
    }

    /// Gives `function` its body. A body that it had before is replaced.
    pub fn define_function(&mut self, function: FunctionId, body: Function) {
        if let Some(unit) = self.functions.get_mut(function.0 as usize) {
            unit.clif = Some(body);
        }
    }

    /// Declares a data object. It needs contents from [`define_data`](Self::define_data) unless
    /// `linkage` is [`Linkage::Import`].
    ///
    /// Importing a name again, or a name that the unit itself declares, gives the symbol that is there.
    pub fn declare_data(&mut self, name: &str, linkage: Linkage) -> DataId {
        if linkage == Linkage::Import
            && let Some(&SymbolId::Data(id)) = self.by_name.get(name)
        {
            return id;
        }
        let id = DataId(index(self.data.len()));
        self.data.push(DataUnit {
            name: name.to_owned(),
            linkage,
            contents: None,
        });
        self.by_name.insert(name.to_owned(), id.into());
        id
    }

    /// Declares a word of the host's: an address, or any 64 bits that it gives for `name` at load.
    ///
    /// The word is the symbol's *address* as CLIF sees it: `symbol_value` of its
    /// [`global_value`](Self::global_value) is the word, and nothing is loaded through it.
    pub fn import_word(&mut self, name: &str) -> DataId {
        self.declare_data(name, Linkage::Import)
    }

    /// Gives `data` its contents. Contents that it had before are replaced.
    pub fn define_data(&mut self, data: DataId, contents: DataContents) {
        if let Some(unit) = self.data.get_mut(data.0 as usize) {
            unit.contents = Some(contents);
        }
    }

    /// The reference by which `body` calls `function`. The same one is given each time it is asked for.
    pub fn func_ref(&self, function: FunctionId, body: &mut Function) -> FuncRef {
        let name = SymbolId::from(function).clif_name();
        let name = ExternalName::user(body.declare_imported_user_function(name));
        let known = body
            .dfg
            .ext_funcs
            .iter()
            .find(|(_, data)| data.name == name);
        if let Some((reference, _)) = known {
            return reference;
        }
        let signature = self.signature_or_empty(function);
        let known = body
            .dfg
            .signatures
            .iter()
            .find(|(_, other)| **other == signature);
        let signature = match known {
            Some((reference, _)) => reference,
            None => body.import_signature(signature),
        };
        body.import_function(ExtFuncData {
            name,
            signature,
            colocated: self.is_defined_here(function.into()),
            patchable: false,
        })
    }

    /// The value of a symbol in `body`: the address of a function or data object, or the imported word
    /// itself. The same one is given each time it is asked for.
    pub fn global_value(&self, symbol: impl Into<SymbolId>, body: &mut Function) -> GlobalValue {
        let symbol = symbol.into();
        let name = ExternalName::user(body.declare_imported_user_function(symbol.clif_name()));
        let wanted = GlobalValueData::Symbol {
            name,
            offset: Imm64::new(0),
            colocated: self.is_defined_here(symbol),
            tls: false,
        };
        let known = body.global_values.iter().find(|(_, data)| **data == wanted);
        match known {
            Some((value, _)) => value,
            None => body.create_global_value(wanted),
        }
    }

    /// The name of a symbol of this unit.
    pub fn name(&self, symbol: impl Into<SymbolId>) -> Option<&str> {
        match symbol.into() {
            SymbolId::Function(id) => Some(&self.functions.get(id.0 as usize)?.name),
            SymbolId::Data(id) => Some(&self.data.get(id.0 as usize)?.name),
        }
    }

    /// The symbol of a name in this unit.
    pub fn symbol(&self, name: &str) -> Option<SymbolId> {
        self.by_name.get(name).copied()
    }

    /// The names of the exported symbols: the roots to prepare an image by.
    pub fn exports(&self) -> impl Iterator<Item = &str> {
        self.names_of(Linkage::Export)
    }

    /// The names that the host has to know: every imported symbol, used or not.
    pub fn imports(&self) -> impl Iterator<Item = &str> {
        self.names_of(Linkage::Import)
    }

    fn names_of(&self, linkage: Linkage) -> impl Iterator<Item = &str> {
        let functions = self.functions.iter().map(|unit| (unit.linkage, &unit.name));
        let data = self.data.iter().map(|unit| (unit.linkage, &unit.name));
        functions
            .chain(data)
            .filter(move |(other, _)| *other == linkage)
            .map(|(_, name)| name.as_str())
    }

    fn signature(&self, function: FunctionId) -> Option<&Signature> {
        Some(&self.functions.get(function.0 as usize)?.signature)
    }

    /// An id of another unit may be out of range here; compiling says so, building goes on.
    fn signature_or_empty(&self, function: FunctionId) -> Signature {
        self.signature(function)
            .cloned()
            .unwrap_or_else(|| Signature::new(CallConv::SystemV))
    }

    fn is_defined_here(&self, symbol: SymbolId) -> bool {
        let linkage = match symbol {
            SymbolId::Function(id) => self.functions.get(id.0 as usize).map(|unit| unit.linkage),
            SymbolId::Data(id) => self.data.get(id.0 as usize).map(|unit| unit.linkage),
        };
        linkage.is_some_and(|linkage| linkage != Linkage::Import)
    }
}

/// The index of a table's next entry. A table that is full gives an index out of its range, which
/// compiling refuses.
fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Symbols by name, then the CLIF of each body: for people, not for parsing.
impl fmt::Display for Unit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, unit) in self.functions.iter().enumerate() {
            let FunctionUnit {
                name,
                linkage,
                signature,
                ..
            } = unit;
            writeln!(
                out,
                "; u{FUNCTIONS}:{index} = {linkage:?} function {name:?} {signature}"
            )?;
        }
        for (index, unit) in self.data.iter().enumerate() {
            write!(
                out,
                "; u{DATA}:{index} = {:?} data {:?}",
                unit.linkage, unit.name
            )?;
            match &unit.contents {
                Some(contents) => writeln!(out, " of {} bytes", contents.bytes.len())?,
                None => writeln!(out)?,
            }
        }
        let bodies = self.functions.iter().filter_map(|unit| unit.clif.as_ref());
        bodies
            .into_iter()
            .try_for_each(|clif| write!(out, "\n{clif}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cranelift_codegen::ir::AbiParam;
    use cranelift_codegen::ir::types::I64;

    fn unary() -> Signature {
        let mut signature = Signature::new(CallConv::SystemV);
        signature.params.push(AbiParam::new(I64));
        signature.returns.push(AbiParam::new(I64));
        signature
    }

    #[test]
    fn importing_again_gives_the_same_symbol() {
        let mut unit = Unit::new();
        let one = unit.import_function("host", &unary());
        assert_eq!(unit.import_function("host", &unary()), one);
        let other = unit.import_function("host", &Signature::new(CallConv::SystemV));
        assert_ne!(
            other, one,
            "another signature is another symbol, refused when compiled"
        );
        let word = unit.import_word("const:1");
        assert_eq!(unit.import_word("const:1"), word);
        assert_eq!(unit.symbol("const:1"), Some(word.into()));
        assert_eq!(unit.name(word), Some("const:1"));
        assert_eq!(unit.imports().count(), 3);
    }

    #[test]
    fn references_are_made_once() {
        let mut unit = Unit::new();
        let host = unit.import_function("host", &unary());
        let own = unit.declare_function("own", Linkage::Local, &unary());
        let word = unit.import_word("word");
        let mut body = unit.new_body(own);
        let call = unit.func_ref(host, &mut body);
        assert_eq!(unit.func_ref(host, &mut body), call);
        assert!(!body.dfg.ext_funcs[call].colocated);
        let recursion = unit.func_ref(own, &mut body);
        assert!(body.dfg.ext_funcs[recursion].colocated);
        assert_eq!(body.dfg.signatures.len(), 1, "equal signatures are shared");
        let value = unit.global_value(word, &mut body);
        assert_eq!(unit.global_value(word, &mut body), value);
        assert_ne!(unit.global_value(host, &mut body), value);
    }

    #[test]
    fn ids_of_another_unit_do_not_panic() {
        let mut large = Unit::new();
        large.import_function("a", &unary());
        let stranger = large.import_function("b", &unary());
        let word = large.import_word("w");
        let mut unit = Unit::new();
        let mut body = unit.new_body(stranger);
        unit.func_ref(stranger, &mut body);
        unit.global_value(word, &mut body);
        unit.define_function(stranger, body);
        unit.define_data(word, DataContents::constant(*b"x"));
        assert_eq!(unit.name(stranger), None);
    }
}
