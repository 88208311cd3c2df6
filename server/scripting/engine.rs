//! An interpreter: a Lua state with its memory bound, the scripts it has
//! compiled, and the libraries it has loaded. Each worker has one; it belongs
//! to whichever thread runs its script.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use corosensei::stack::DefaultStack;
use mlua_sys as ffi;

use super::cache::{Script, Scripts, Sha, sha_of};
use super::lua::{Lua, Raise, kind, lua_State};
use super::run::Run;
use super::{Scripting, sandbox};
use crate::commands::error::CommandError;

/// The most that one interpreter may hold; an allocation beyond it fails, and
/// with it the script.
pub const MOST_BYTES: usize = 1 << 30;
/// Turns of a native loop between two looks at the clock.
pub const TURNS: usize = 4096;
/// An interpreter that holds more after a script is cleaned up at once.
const TIDY_BYTES: usize = 16 << 20;
/// The stack that scripts run on: Lua allows 200 native calls within each
/// other, each with buffers of up to some 10 KB. Only what is used is resident.
const STACK_BYTES: usize = 16 << 20;
/// Compiled scripts beyond this number are looked through for forgotten ones.
const MANY_COMPILED: usize = 1024;

/// What the state's allocator was given: reached from any native function.
pub struct Owner {
    /// Bytes that the state holds.
    pub used: usize,
    /// The run under way; null when there is none.
    pub run: *mut Run,
    /// For native functions to build strings in.
    pub scratch: Vec<u8>,
    /// Turns of native loops so far; see [`turn`].
    turns: usize,
    /// Bytes last told to [`Scripting::lua_bytes`].
    told: usize,
    /// Settings of cjson.
    pub json: super::json::Settings,
    /// State of math.random.
    pub random: u64,
    /// The library being loaded.
    pub load: Option<super::register::Load>,
}

struct Compiled {
    script: Arc<Script>,
    function: i32,
}

/// An interpreter.
pub struct Engine {
    state: *mut lua_State,
    owner: Box<Owner>,
    compiled: HashMap<Sha, Compiled, ahash::RandomState>,
    by_body: HashMap<u64, Sha, ahash::RandomState>,
    hasher: ahash::RandomState,
    /// Loaded libraries by their number, with their functions' places in the
    /// registry, in the order of the library.
    pub libraries: HashMap<u64, Vec<i32>>,
    /// The SCRIPT FLUSH after which it was made.
    flushes: usize,
    /// The stack for the next script.
    pub stack: Option<DefaultStack>,
    /// Buffers for its replies and effects.
    spare: Vec<Vec<u8>>,
    /// The place of the error handler in the registry.
    pub handler: i32,
}

// SAFETY: the state and what it points to are reached through the engine only,
// by the one thread that has it.
unsafe impl Send for Engine {}

thread_local! {
    static ENGINE: Cell<Option<Box<Engine>>> = const { Cell::new(None) };
}

/// Bounds what a state may hold.
unsafe extern "C" fn allocate(
    owner: *mut c_void,
    block: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    // SAFETY: the pointer that was given to lua_newstate; nothing else uses it
    // while Lua allocates.
    let used = unsafe { &mut (*owner.cast::<Owner>()).used };
    // SAFETY: the blocks come from these same functions.
    unsafe {
        if new == 0 {
            *used -= old.min(*used);
            libc_free(block, old);
            return std::ptr::null_mut();
        }
        if new > old && *used + (new - old) > MOST_BYTES {
            return std::ptr::null_mut();
        }
        let moved = libc_grow(block, old, new);
        if !moved.is_null() {
            *used = *used + new - old.min(*used + new);
        }
        moved
    }
}

const ALIGN: usize = 16;

/// Frees a block of the process's allocator.
unsafe fn libc_free(block: *mut c_void, old: usize) {
    if !block.is_null() && old != 0 {
        // SAFETY: allocated with this size and alignment by `libc_grow`.
        unsafe {
            let layout = std::alloc::Layout::from_size_align_unchecked(old, ALIGN);
            std::alloc::dealloc(block.cast(), layout);
        }
    }
}

/// Allocates or resizes a block.
unsafe fn libc_grow(block: *mut c_void, old: usize, new: usize) -> *mut c_void {
    // SAFETY: sizes are not zero and below MOST_BYTES; see `libc_free`.
    unsafe {
        if block.is_null() || old == 0 {
            let layout = std::alloc::Layout::from_size_align_unchecked(new, ALIGN);
            return std::alloc::alloc(layout).cast();
        }
        let layout = std::alloc::Layout::from_size_align_unchecked(old, ALIGN);
        std::alloc::realloc(block.cast(), layout, new).cast()
    }
}

/// The owner of the state that a native function runs in.
#[inline]
pub fn owner<'a>(lua: Lua) -> &'a mut Owner {
    // SAFETY: `Engine::new` gives every state such a pointer, and the engine
    // outlives what runs in it. Native functions hold the reference for the
    // moment of one use.
    unsafe { &mut *lua.owner().cast::<Owner>() }
}

/// The run under way in a state, if there is one.
#[inline]
pub fn run_of<'a>(lua: Lua) -> Option<&'a mut Run> {
    // SAFETY: `run::execute` sets the pointer for as long as the run lives.
    unsafe { owner(lua).run.as_mut() }
}

/// A turn of a loop that builds a string in [`Owner::scratch`]: as [`turn`], and
/// ends the loop once the script has no memory for that string.
#[inline]
pub fn building_turn(lua: Lua) -> Result<(), Raise> {
    let owner = owner(lua);
    match owner.used + owner.scratch.len() > MOST_BYTES {
        true => Err(Raise::Text("not enough memory")),
        false => turn(lua),
    }
}

/// A turn of a loop in a native function, which now and then looks at the clock.
#[inline]
pub fn turn(lua: Lua) -> Result<(), Raise> {
    let owner = owner(lua);
    owner.turns += 1;
    match owner.turns.is_multiple_of(TURNS) {
        true => super::protect::look_at_clock(lua),
        false => Ok(()),
    }
}

impl Engine {
    /// This thread's interpreter; a new one if there is none, it is in use, or
    /// SCRIPT FLUSH was called.
    pub fn take(scripting: &Scripting) -> Result<Box<Engine>, CommandError> {
        let flushes = scripting.flushes.load(Ordering::Relaxed);
        match ENGINE.take() {
            Some(engine) if engine.flushes == flushes => Ok(engine),
            Some(mut old) => {
                old.tell(scripting, 0);
                drop(old);
                Engine::new(flushes)
            }
            None => Engine::new(flushes),
        }
    }

    /// Forgets libraries that the server has no more, once there are many.
    pub fn prune(&mut self, libraries: &super::library::Libraries) {
        const SPARE: usize = 8;
        if self.libraries.len() <= libraries.counts().0 + SPARE {
            return;
        }
        let lua = self.lua();
        self.libraries.retain(|number, places| {
            let stays = libraries.all().any(|library| library.number == *number);
            if !stays {
                places.iter().for_each(|place| lua.forget(*place));
            }
            stays
        });
    }

    /// Gives the interpreter back to this thread.
    pub fn give_back(mut self: Box<Engine>, scripting: &Scripting) {
        if self.owner.used > TIDY_BYTES {
            self.lua().collect(ffi::LUA_GCCOLLECT, 0);
        }
        if self.owner.scratch.capacity() > 1 << 20 {
            self.owner.scratch = Vec::new();
        }
        let used = self.owner.used;
        self.tell(scripting, used);
        ENGINE.set(Some(self));
    }

    /// An empty buffer.
    pub fn lend_buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Keeps a buffer for the next script, unless it has grown large.
    pub fn keep_buffer(&mut self, mut buffer: Vec<u8>) {
        const MOST_BUFFERS: usize = 3;
        const MOST_CAPACITY: usize = 64 << 10;
        if self.spare.len() < MOST_BUFFERS && buffer.capacity() <= MOST_CAPACITY {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Ends an interpreter that no thread needs any more.
    pub fn discard(mut self: Box<Engine>, scripting: &Scripting) {
        self.tell(scripting, 0);
    }

    fn tell(&mut self, scripting: &Scripting, used: usize) {
        // SCRIPT FLUSH has taken out what was told before it.
        let counts = self.flushes == scripting.flushes.load(Ordering::Relaxed);
        if counts && used != self.owner.told {
            let difference = used as i64 - self.owner.told as i64;
            scripting.lua_bytes.fetch_add(difference, Ordering::Relaxed);
            self.owner.told = used;
        }
    }

    fn new(flushes: usize) -> Result<Box<Engine>, CommandError> {
        let failed = || CommandError::text("OOM no memory for an interpreter");
        let mut owner = Box::new(Owner {
            used: 0,
            run: std::ptr::null_mut(),
            scratch: Vec::new(),
            turns: 0,
            told: 0,
            json: super::json::Settings::default(),
            random: fastrand::u64(..) >> 16,
            load: None,
        });
        let pointer: *mut c_void = (&raw mut *owner).cast();
        // SAFETY: the allocator keeps Lua's contract; the owner is boxed and
        // freed after the state.
        let state = unsafe { ffi::lua_newstate(allocate, pointer) };
        if state.is_null() {
            return Err(failed());
        }
        let mut engine = Box::new(Engine {
            state,
            owner,
            compiled: HashMap::default(),
            by_body: HashMap::default(),
            hasher: ahash::RandomState::new(),
            libraries: HashMap::new(),
            flushes,
            stack: DefaultStack::new(STACK_BYTES).ok(),
            spare: Vec::new(),
            handler: 0,
        });
        engine.handler = sandbox::build(engine.lua()).ok_or_else(failed)?;
        Ok(engine)
    }

    /// The state.
    #[inline]
    pub fn lua(&self) -> Lua {
        // SAFETY: it is closed when the engine is dropped, and the engine is
        // what gives access to it.
        unsafe { Lua::from_raw(self.state) }
    }

    /// The stack for a script, until it is put back.
    pub fn take_stack(&mut self) -> Option<DefaultStack> {
        let stack = self.stack.take();
        stack.or_else(|| DefaultStack::new(STACK_BYTES).ok())
    }

    /// Runs something of Lua's on the stack for scripts, which holds what a
    /// worker's may not. None if there is no memory for it.
    pub fn on_stack<R>(&mut self, run: impl FnOnce(&mut Engine) -> R) -> Option<R> {
        let mut stack = self.take_stack()?;
        let result = corosensei::on_stack(&mut stack, || run(self));
        self.stack = Some(stack);
        Some(result)
    }

    /// What native functions reach.
    pub fn owner(&mut self) -> &mut Owner {
        &mut self.owner
    }

    /// The script that EVAL brings, and the place of its function.
    pub fn script_of_body(
        &mut self,
        scripts: &parking_lot::Mutex<Scripts>,
        body: &[u8],
    ) -> Result<(Arc<Script>, i32), CommandError> {
        let hash = self.hasher.hash_one(body);
        if let Some(sha) = self.by_body.get(&hash)
            && let Some(known) = self.compiled.get(sha)
            && known.script.body == body
            && !known.script.gone.load(Ordering::Relaxed)
        {
            known.script.touch();
            return Ok((known.script.clone(), known.function));
        }
        let sha = sha_of(body);
        let found = self.add_script(scripts, sha, body, false)?;
        self.by_body.insert(hash, sha);
        Ok(found)
    }

    /// The script of a SHA-1, if the server knows it.
    pub fn script_of_sha(
        &mut self,
        scripts: &parking_lot::Mutex<Scripts>,
        sha: &Sha,
    ) -> Result<Option<(Arc<Script>, i32)>, CommandError> {
        if let Some(known) = self.compiled.get(sha)
            && !known.script.gone.load(Ordering::Relaxed)
        {
            known.script.touch();
            return Ok(Some((known.script.clone(), known.function)));
        }
        let Some(script) = scripts.lock().get(sha) else {
            return Ok(None);
        };
        let function = self.compile(&script)?;
        script.touch();
        self.remember(script.clone(), function);
        Ok(Some((script, function)))
    }

    /// Compiles a text and makes it known to the server.
    pub fn add_script(
        &mut self,
        scripts: &parking_lot::Mutex<Scripts>,
        sha: Sha,
        body: &[u8],
        pinned: bool,
    ) -> Result<(Arc<Script>, i32), CommandError> {
        let script = Script::parse(sha, body)?;
        let function = self.compile(&script)?;
        let script = scripts.lock().add(script, pinned);
        script.touch();
        self.remember(script.clone(), function);
        Ok((script, function))
    }

    fn remember(&mut self, script: Arc<Script>, function: i32) {
        if self.compiled.len() >= MANY_COMPILED {
            let lua = self.lua();
            self.compiled.retain(|_, known| {
                let stays = !known.script.gone.load(Ordering::Relaxed);
                if !stays {
                    lua.forget(known.function);
                }
                stays
            });
            let compiled = &self.compiled;
            self.by_body.retain(|_, sha| compiled.contains_key(sha));
        }
        let sha = script.sha;
        let compiled = Compiled { script, function };
        if let Some(old) = self.compiled.insert(sha, compiled) {
            self.lua().forget(old.function);
        }
    }

    fn compile(&mut self, script: &Script) -> Result<i32, CommandError> {
        self.compile_text(&script.body[script.start..], c"@user_script")
            .map_err(|text| {
                CommandError::err(format!("Error compiling script (new function): {text}"))
            })
    }

    /// Compiles a text; gives the place of its function in the registry, or
    /// what Lua says.
    pub fn compile_text(&mut self, text: &[u8], name: &'static CStr) -> Result<i32, String> {
        let mut job = (text, name, 0);
        let lua = self.lua();
        let done = lua.protected(super::lua::native!(compile_job), (&raw mut job).cast());
        if done {
            return Ok(job.2);
        }
        Err(self.take_error())
    }

    /// Pops an error's text.
    pub fn take_error(&mut self) -> String {
        let lua = self.lua();
        let text = match lua.kind(-1) {
            kind::STRING => lua
                .bytes(-1)
                .map(|b| String::from_utf8_lossy(b).into_owned()),
            _ => None,
        };
        lua.pop(1);
        text.unwrap_or_else(|| "unknown error".to_string())
    }
}

/// Compiles, protected: the text, its name, and where its place goes.
fn compile_job(lua: Lua) -> super::lua::Native {
    // SAFETY: `compile_text` passes the address of such a tuple, which outlives
    // the call.
    let job = unsafe { &mut *lua.pointer(1).cast::<(&[u8], &'static CStr, i32)>() };
    if !lua.load(job.0, job.1) {
        return Err(super::lua::Raise::Top);
    }
    job.2 = lua.keep();
    Ok(0)
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SAFETY: nothing runs in the state any more.
        unsafe { ffi::lua_close(self.state) }
    }
}
