//! Users and what they may do. Source: the documentation of ACL.
//!
//! A [`user::User`] never changes: whoever changes one puts another in its
//! place, under a new generation. A session keeps its user, whether that one
//! may do everything, and the generation of both, so the check in front of a
//! command costs one comparison; only a session whose user is restricted
//! looks further ([`check`]).

pub mod check;
pub mod file;
pub mod log;
pub mod password;
pub mod rule;
pub mod selector;
pub mod user;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::connection::session::Session;
use rule::NewChannels;
use user::User;

/// Users by name.
pub type Users = BTreeMap<Vec<u8>, Arc<User>>;

/// The name of the user that connections begin as.
pub const DEFAULT: &[u8] = b"default";

/// All users, and what was refused to them.
pub struct Acl {
    users: RwLock<Users>,
    /// Grows with every change of a user.
    generation: AtomicU64,
    /// Whether a new connection has to log in.
    login_needed: AtomicBool,
    /// Whether the default user takes any password.
    default_open: AtomicBool,
    /// Whether a new user may use all channels (`acl-pubsub-default`).
    all_channels: AtomicBool,
    /// ACL LOG.
    pub log: log::AclLog,
}

impl Default for Acl {
    fn default() -> Acl {
        let mut users = Users::new();
        users.insert(DEFAULT.to_vec(), Arc::new(User::default_user()));
        Acl::with_users(users, NewChannels::None)
    }
}

impl Acl {
    /// These users, of which one is the default user.
    fn with_users(users: Users, channels: NewChannels) -> Acl {
        let acl = Acl {
            users: RwLock::new(Users::new()),
            generation: AtomicU64::new(0),
            login_needed: AtomicBool::new(false),
            default_open: AtomicBool::new(true),
            all_channels: AtomicBool::new(channels == NewChannels::All),
            log: log::AclLog::default(),
        };
        acl.replace_all(users);
        acl
    }

    /// What channels a new user has.
    pub fn new_channels(&self) -> NewChannels {
        match self.all_channels.load(Ordering::Relaxed) {
            true => NewChannels::All,
            false => NewChannels::None,
        }
    }

    /// Takes over `acl-pubsub-default`.
    pub fn set_new_channels(&self, channels: NewChannels) {
        let all = channels == NewChannels::All;
        self.all_channels.store(all, Ordering::Relaxed);
    }

    /// Whether a new connection has to log in.
    #[inline]
    pub fn login_needed(&self) -> bool {
        self.login_needed.load(Ordering::Relaxed)
    }

    /// Whether the default user takes any password.
    pub fn default_is_open(&self) -> bool {
        self.default_open.load(Ordering::Relaxed)
    }

    /// The user of this name.
    pub fn user(&self, name: &[u8]) -> Option<Arc<User>> {
        self.users.read().get(name).cloned()
    }

    /// All users, in the order of their names.
    pub fn users(&self) -> Vec<Arc<User>> {
        self.users.read().values().cloned().collect()
    }

    /// Changes or makes a user: `change` gets it as it is, or a new one, and
    /// nothing happens if it fails. Returns the user as it was and as it is.
    pub fn change<E>(
        &self,
        name: &[u8],
        change: impl FnOnce(&mut User) -> Result<(), E>,
    ) -> Result<(Option<Arc<User>>, Arc<User>), E> {
        let mut users = self.users.write();
        let before = users.get(name).cloned();
        let mut next = match &before {
            Some(user) => User::clone(user),
            None => User::new(name, self.new_channels()),
        };
        next.set_new_channels(self.new_channels());
        change(&mut next)?;
        let next = Arc::new(next);
        users.insert(name.to_vec(), next.clone());
        self.published(&users);
        Ok((before, next))
    }

    /// Removes a user; false when there is none.
    pub fn remove(&self, name: &[u8]) -> bool {
        let mut users = self.users.write();
        let removed = users.remove(name).is_some();
        self.published(&users);
        removed
    }

    /// Replaces all users; a default user without rules is added if there is
    /// none. Returns those there were.
    pub fn replace_all(&self, mut next: Users) -> Users {
        next.entry(DEFAULT.to_vec())
            .or_insert_with(|| Arc::new(User::default_user()));
        let mut users = self.users.write();
        let before = std::mem::replace(&mut *users, next);
        self.published(&users);
        before
    }

    /// Makes a change known, while the users are still locked.
    fn published(&self, users: &Users) {
        if let Some(default) = users.get(DEFAULT) {
            let open = default.nopass && default.enabled;
            self.login_needed.store(!open, Ordering::Relaxed);
            self.default_open.store(default.nopass, Ordering::Relaxed);
        }
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Takes over `requirepass`: the default user's only password, or none.
    pub fn set_default_password(&self, password: &[u8]) {
        let changed: Result<_, std::convert::Infallible> = self.change(DEFAULT, |user| {
            user.set_only_password(password);
            Ok(())
        });
        let Ok(_) = changed;
    }

    /// Whom a name and a password let in.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        let user = self.user(name)?;
        (user.enabled && user.accepts(password)).then_some(user)
    }

    /// Makes a session that of the default user, logged in if that one needs
    /// no password: as every connection begins.
    pub fn begin(&self, session: &mut Session) {
        session.authenticated = !self.login_needed();
        let user = self.user(DEFAULT);
        self.assume(
            session,
            user.unwrap_or_else(|| Arc::new(User::default_user())),
        );
    }

    /// Makes a session that of a user.
    pub fn assume(&self, session: &mut Session, user: Arc<User>) {
        let mut info = session.client.info.lock();
        if info.user != user.name {
            info.user.clone_from(&user.name);
        }
        drop(info);
        session.user = Some(user);
        self.renew(session);
    }

    /// Gives a session, such as the one that serves a blocked command, the
    /// rights that the client has now.
    pub fn assume_of_client(&self, session: &mut Session) {
        let name = session.client.info.lock().user.clone();
        session.user = Some(Arc::new(User::new(&name, NewChannels::None)));
        self.renew(session);
    }

    /// Brings what a session knows of its user up to date.
    #[inline]
    pub fn keep_current(&self, session: &mut Session) {
        if session.acl_generation != self.generation.load(Ordering::Acquire) {
            self.renew(session);
        }
    }

    /// A user that is gone has no rights any more; its connections are being
    /// closed.
    #[cold]
    fn renew(&self, session: &mut Session) {
        let Some(user) = &session.user else { return };
        let generation = self.generation.load(Ordering::Acquire);
        let user = match self.user(&user.name) {
            Some(user) => user,
            None => Arc::new(User::new(&user.name, NewChannels::None)),
        };
        session.unrestricted = user.is_unrestricted();
        session.user = Some(user);
        session.acl_generation = generation;
    }
}

#[cfg(test)]
mod tests;
