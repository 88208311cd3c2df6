//! What others ring to have a connection look after itself.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::task::{Poll, RawWakerVTable, Waker};

use parking_lot::Mutex;

/// Wakes the one task that waits for it; a ring while none waits is kept for
/// the next.
///
/// A connection waits for its bell before each request. So what wakes it stays
/// here from one wait to the next, and a wait by the same task takes no locked
/// instruction.
#[derive(Default)]
pub struct Bell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
    /// What `waker` is, for who waits: its data and its functions. It is not
    /// another one's as long as `waker` keeps it.
    known: (AtomicPtr<()>, AtomicPtr<RawWakerVTable>),
}

impl Bell {
    /// Wakes who waits.
    pub fn ring(&self) {
        // Who rang before and was not heard yet has woken it, or is about to.
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(waker) = &*self.waker.lock()
        {
            waker.wake_by_ref();
        }
    }

    /// Waits until it is rung. Only the connection's own task may wait.
    pub async fn rung(&self) {
        poll_fn(|context| {
            self.register(context.waker());
            // Only now: it may have been rung before the waker was known.
            match self.rung.load(Ordering::Acquire) && self.rung.swap(false, Ordering::AcqRel) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    #[inline]
    fn register(&self, waker: &Waker) {
        let (data, functions) = (waker.data().cast_mut(), waker.vtable());
        let functions = std::ptr::from_ref(functions).cast_mut();
        let (known_data, known_functions) = &self.known;
        if known_data.load(Ordering::Relaxed) == data
            && known_functions.load(Ordering::Relaxed) == functions
        {
            return;
        }
        *self.waker.lock() = Some(waker.clone());
        known_data.store(data, Ordering::Relaxed);
        known_functions.store(functions, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;
    use std::task::{Context, Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_ring_wakes_the_waiter_and_one_without_a_waiter_is_kept_once() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut context = Context::from_waker(&waker);
        let bell = Bell::default();
        let mut poll = || pin!(bell.rung()).poll(&mut context);
        assert!(poll().is_pending());
        bell.ring();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(poll().is_ready());
        assert!(poll().is_pending());
        bell.ring();
        bell.ring();
        assert!(poll().is_ready());
        assert!(poll().is_pending());
    }

    #[test]
    fn no_ring_is_lost_between_threads() {
        let bell = Arc::new(Bell::default());
        let turn = Arc::new(AtomicU32::new(0));
        let ringer = {
            let (bell, turn) = (bell.clone(), turn.clone());
            std::thread::spawn(move || {
                for number in 1..=20_000 {
                    turn.store(number, Ordering::Relaxed);
                    bell.ring();
                }
            })
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            while turn.load(Ordering::Relaxed) != 20_000 {
                bell.rung().await;
            }
        });
        ringer.join().unwrap();
    }
}
