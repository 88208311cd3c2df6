//! Libraries of functions: what FUNCTION LOAD brought, by name. Names of
//! libraries and functions are told apart without regard to case.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redoubt_persistence::rdb::dump;
use redoubt_persistence::rdb::primitive::{Reader, put_string};

use super::engine::Engine;
use super::register;
use super::run::Flags;
use crate::commands::error::CommandError;

/// The opcode of a library in an RDB file or a dump.
const OPCODE: u8 = 0xf5;
/// What is said behind `Library` and `Function` of a name that is none.
pub const BAD_NAME: &str = "names can only contain letters, numbers, or underscores(_) and must be at least one character long";

/// A function of a library.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<Vec<u8>>,
    /// What it may do.
    pub flags: Flags,
}

/// A library.
pub struct Library {
    /// Unlike any other's of this process.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// Its text with the first line.
    pub code: Vec<u8>,
    /// Where the text begins that Lua sees.
    start: usize,
    /// A function of it uses keys that it does not declare, see `locks.rs`.
    pub roams: AtomicBool,
    /// Its functions, in the order of their registration.
    pub functions: Vec<Function>,
}

/// The libraries of a server.
#[derive(Clone, Default)]
pub struct Libraries {
    by_name: BTreeMap<String, Arc<Library>>,
    functions: BTreeMap<String, (Arc<Library>, usize)>,
}

/// What becomes of a library that is there when one of its name is restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// All others are removed first.
    Flush,
    /// That is an error.
    Append,
    /// It is replaced.
    Replace,
}

static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// Whether a name of a library or function is one.
pub fn is_name(name: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    !name.is_empty() && name.iter().all(fits)
}

/// What FUNCTION LOAD says of a name that is taken.
pub fn already_exists(name: &str) -> CommandError {
    CommandError::err(format!("Library '{name}' already exists"))
}

impl Library {
    /// Runs a library's text in an interpreter and reads what it registers;
    /// the interpreter has it loaded then.
    pub fn load(
        engine: &mut Engine,
        code: &[u8],
        in_time: bool,
    ) -> Result<Arc<Library>, CommandError> {
        let (name, start) = parse_metadata(code)?;
        let registered =
            register::load(engine, &code[start..], in_time).map_err(CommandError::err)?;
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let (functions, places) = registered.into_iter().unzip();
        engine.libraries.insert(number, places);
        Ok(Arc::new(Library {
            number,
            name,
            code: code.to_vec(),
            start,
            roams: AtomicBool::new(false),
            functions,
        }))
    }

    /// The place of a function in an interpreter, which loads the library if
    /// it has not yet.
    pub fn function_in(&self, engine: &mut Engine, number: usize) -> Result<i32, CommandError> {
        if let Some(place) = engine
            .libraries
            .get(&self.number)
            .and_then(|p| p.get(number))
        {
            return Ok(*place);
        }
        let code = &self.code[self.start..];
        let registered = register::load(engine, code, false).map_err(CommandError::err)?;
        let names = registered
            .iter()
            .map(|(function, _)| function.name.as_str());
        if !names.eq(self.functions.iter().map(|function| function.name.as_str())) {
            register::forget(engine, &registered);
            return Err(CommandError::err(
                "The library registers other functions than it did before",
            ));
        }
        let places: Vec<i32> = registered.iter().map(|(_, place)| *place).collect();
        let place = places[number];
        engine.libraries.insert(self.number, places);
        Ok(place)
    }
}

impl Libraries {
    /// The function of a name, in any case.
    pub fn function(&self, name: &[u8]) -> Option<(Arc<Library>, usize)> {
        let name = std::str::from_utf8(name).ok()?;
        if let Some(found) = self.functions.get(name) {
            return Some(found.clone());
        }
        self.functions.get(&name.to_ascii_lowercase()).cloned()
    }

    /// All libraries.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Library>> {
        self.by_name.values()
    }

    /// How many libraries and functions there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.by_name.len(), self.functions.len())
    }

    /// Whether a library of this name is there.
    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(&name.to_ascii_lowercase())
    }

    /// Adds a library; one of the same name gives way if `replace` says so.
    pub fn add(&mut self, library: Arc<Library>, replace: bool) -> Result<(), CommandError> {
        let key = library.name.to_ascii_lowercase();
        if self.by_name.contains_key(&key) && !replace {
            return Err(already_exists(&library.name));
        }
        for function in &library.functions {
            let taken = self.functions.get(&function.name.to_ascii_lowercase());
            if taken.is_some_and(|(other, _)| !other.name.eq_ignore_ascii_case(&library.name)) {
                return Err(CommandError::err(format!(
                    "Function {} already exists",
                    function.name
                )));
            }
        }
        self.remove(&library.name);
        for (number, function) in library.functions.iter().enumerate() {
            let name = function.name.to_ascii_lowercase();
            self.functions.insert(name, (library.clone(), number));
        }
        self.by_name.insert(key, library);
        Ok(())
    }

    /// Removes a library; false if there is none of this name.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(library) = self.by_name.remove(&name.to_ascii_lowercase()) else {
            return false;
        };
        self.functions
            .retain(|_, (other, _)| !Arc::ptr_eq(other, &library));
        true
    }

    /// The text of all libraries, as FUNCTION DUMP gives them.
    pub fn dump(&self) -> Vec<u8> {
        dump::wrap(&self.encode())
    }

    /// The text of all libraries, as it stands in an RDB file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for library in self.by_name.values() {
            bytes.push(OPCODE);
            put_string(&mut bytes, &library.code, true);
        }
        bytes
    }

    /// Adds the libraries of [`Libraries::encode`], all or none.
    pub fn restore(
        &self,
        engine: &mut Engine,
        encoded: &[u8],
        policy: Policy,
        in_time: bool,
    ) -> Result<Libraries, CommandError> {
        let mut libraries = match policy {
            Policy::Flush => Libraries::default(),
            Policy::Append | Policy::Replace => self.clone(),
        };
        let mut reader = Reader::new(encoded, Default::default());
        while reader.remaining() != 0 {
            let failed = |_| CommandError::err("failed loading the given functions payload");
            if reader.byte().map_err(failed)? != OPCODE {
                return Err(CommandError::err("given type is not a function"));
            }
            let code = reader.string().map_err(failed)?;
            let library = Library::load(engine, &code, in_time)?;
            if policy != Policy::Replace && libraries.has(&library.name) {
                return Err(CommandError::err(format!(
                    "Library {} already exists",
                    library.name
                )));
            }
            libraries.add(library, true)?;
        }
        Ok(libraries)
    }
}

/// The name of the library that a text is of.
pub fn name_of(code: &[u8]) -> Result<String, CommandError> {
    parse_metadata(code).map(|(name, _)| name)
}

/// Reads `#!lua name=…`; gives the name and where the rest begins.
fn parse_metadata(code: &[u8]) -> Result<(String, usize), CommandError> {
    if !code.starts_with(b"#!") {
        return Err(CommandError::err("Missing library metadata"));
    }
    let invalid = || CommandError::err("Invalid library metadata");
    let end = code.iter().position(|&b| b == b'\n').ok_or_else(invalid)?;
    let parts = crate::resp::split::split(&code[..end]).map_err(|_| invalid())?;
    let [engine, options @ ..] = parts.as_slice() else {
        return Err(invalid());
    };
    let mut name = None;
    for option in options {
        let (key, value) = option.split_at(option.len().min(5));
        if !key.eq_ignore_ascii_case(b"name=") {
            return Err(CommandError::err(format!(
                "Invalid metadata value given: {}",
                String::from_utf8_lossy(option)
            )));
        }
        if name.replace(value.to_vec()).is_some() {
            return Err(CommandError::err(
                "Invalid metadata value, name argument was given multiple times",
            ));
        }
    }
    let name = name.ok_or_else(|| CommandError::err("Library name was not given"))?;
    if !is_name(&name) {
        return Err(CommandError::err(format!("Library {BAD_NAME}")));
    }
    let engine = &engine[2..];
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err(CommandError::err(format!(
            "Engine '{}' not found",
            String::from_utf8_lossy(engine)
        )));
    }
    Ok((String::from_utf8_lossy(&name).into_owned(), end))
}
