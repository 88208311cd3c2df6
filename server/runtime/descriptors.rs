//! How many files and connections the system lets this process have open. What
//! clients may take of that leaves enough for the server's own: with none left
//! it could begin no segment of its log and write no snapshot.

/// Left for log, tree, snapshots, replicas and other nodes, besides what workers take.
const RESERVED: u64 = 128;
/// What a server has open that does nothing, besides what its workers take.
const IDLE: u64 = 24;
/// What a worker takes.
const PER_WORKER: u64 = 4;

/// What there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Clients, of those that were asked for.
    pub clients: i64,
    /// Descriptors that all of them would have needed.
    pub needed: u64,
    /// Descriptors that may be open.
    pub limit: u64,
}

/// Raises the limit on open files as far as so many clients need, and as the
/// system allows. Nothing is known where the system does not tell the limit.
pub fn make_room(clients: i64, workers: usize) -> Option<Room> {
    let needed = (clients.max(0) as u64).saturating_add(usual_reserve(workers));
    // SAFETY: each call reads or writes the one struct that is passed.
    let limit = unsafe {
        let mut limit = std::mem::zeroed::<libc::rlimit>();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return None;
        }
        let before = limit.rlim_cur;
        limit.rlim_cur = needed.min(limit.rlim_max);
        match before < limit.rlim_cur && libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0
        {
            true => limit.rlim_cur,
            false => before,
        }
    };
    Some(Room {
        clients: clients.min(most_clients(limit, workers)),
        needed,
        limit,
    })
}

fn usual_reserve(workers: usize) -> u64 {
    RESERVED + PER_WORKER * workers as u64
}

/// For how many clients so many descriptors are enough. Of few the server keeps
/// half, or what it can't do without.
fn most_clients(limit: u64, workers: usize) -> i64 {
    let least = IDLE + PER_WORKER * workers as u64;
    let reserve = usual_reserve(workers).min(least.max(limit / 2));
    i64::try_from(limit.saturating_sub(reserve).max(1)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_something_for_the_server() {
        assert_eq!(most_clients(10_136, 2), 10_000);
        assert_eq!(most_clients(1024, 2), 888);
        assert_eq!(most_clients(200, 2), 100);
        assert_eq!(most_clients(50, 2), 18);
        assert_eq!(most_clients(10, 2), 1);
        assert_eq!(most_clients(u64::MAX, 2), i64::MAX);
    }
}
