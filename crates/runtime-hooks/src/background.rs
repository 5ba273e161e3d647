//! A thread of the cache's own: started when there is something to do, ended before the cache is gone.
//!
//! What it does is its user's: [`worker.rs`](crate::worker) writes, [`jobs.rs`](crate::jobs) goes through a queue.
//! Here is what both need: one start, however many ask for it; a state that both sides see, with the word that it has
//! changed; and an end that is waited for no longer than is bearable, whatever the thread is held up by.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// A thread, or what will be one, and the state `S` that it shares with those who give it something to do.
pub(crate) struct Background<S> {
    shared: Arc<Shared<S>>,
    is_started: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread sees of its [`Background`].
pub(crate) struct Shared<S> {
    state: Mutex<S>,
    changed: Condvar,
    /// Set with the state locked, so that who waits for it does not miss it.
    has_ended: AtomicBool,
}

/// What came of [stopping](Background::stop).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// There was no thread, or it was stopped before.
    None,
    /// The thread has ended.
    Ended,
    /// It is the calling thread, and ends when that is done with what it is at: a listener had the last of the cache.
    Own,
    /// It is left behind with what it is at.
    Late,
}

impl<S: Send + 'static> Background<S> {
    /// Without a thread yet.
    pub(crate) fn new(state: S) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Condvar::new(),
                has_ended: AtomicBool::new(false),
            }),
            is_started: AtomicBool::new(false),
            thread: Mutex::default(),
        }
    }

    /// Starts the thread that `builder` describes, unless that was done before. Where there can be none,
    /// nothing is done in the background, which the user of this has to bear.
    pub(crate) fn start(&self, builder: Builder, run: impl FnOnce(&Shared<S>) + Send + 'static) {
        if self.is_started.load(Ordering::Relaxed) || self.is_started.swap(true, Ordering::Relaxed)
        {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let begun = builder.spawn(move || {
            let _ended = Ended(&shared);
            run(&shared);
        });
        match begun {
            Ok(thread) => *crate::lock(&self.thread) = Some(thread),
            Err(error) => tracing::debug!(%error, "no thread for the cache's background work"),
        }
    }

    /// Whether there is a thread, so that stopping it may take time.
    pub(crate) fn is_running(&self) -> bool {
        crate::lock(&self.thread).is_some()
    }

    pub(crate) fn shared(&self) -> &Shared<S> {
        &self.shared
    }

    /// Has the state say by `tell` that it is the end, and waits for the thread to see it, up to `patience`.
    pub(crate) fn stop(&self, tell: impl FnOnce(&mut S), patience: Duration) -> End {
        let thread = crate::lock(&self.thread).take();
        let mut state = self.shared.lock();
        tell(&mut state);
        self.shared.changed.notify_all();
        let Some(thread) = thread else {
            return End::None;
        };
        if thread.thread().id() == std::thread::current().id() {
            return End::Own;
        }
        drop(self.shared.wait_while(state, patience, |_| true));
        if !self.shared.has_ended.load(Ordering::Relaxed) {
            return End::Late;
        }
        // It has nothing left to do but to return. A panic was told of by whoever panicked.
        let _ = thread.join();
        End::Ended
    }
}

impl<S> Shared<S> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, S> {
        crate::lock(&self.state)
    }

    /// The same where nobody is to be waited for: whoever has it may be in a process that this one was forked from.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, S>> {
        let tries = (0..64).map(|_| {
            std::hint::spin_loop();
            self.state.try_lock().ok()
        });
        tries.flatten().next()
    }

    /// Wakes the thread, and who waits for it.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits for [`notify`](Self::notify), for `patience` at most if there is one. May return early.
    pub(crate) fn wait<'a>(
        &self,
        state: MutexGuard<'a, S>,
        patience: Option<Duration>,
    ) -> MutexGuard<'a, S> {
        match patience {
            None => (self.changed.wait(state)).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                let waited = self.changed.wait_timeout(state, patience);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Waits until `is_busy` no longer holds or the thread has ended, up to `patience`.
    pub(crate) fn wait_while<'a>(
        &self,
        state: MutexGuard<'a, S>,
        patience: Duration,
        mut is_busy: impl FnMut(&S) -> bool,
    ) -> MutexGuard<'a, S> {
        let waited = self.changed.wait_timeout_while(state, patience, |state| {
            is_busy(state) && !self.has_ended.load(Ordering::Relaxed)
        });
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Says that the thread has ended, however it did.
struct Ended<'a, S>(&'a Shared<S>);

impl<S> Drop for Ended<'_, S> {
    fn drop(&mut self) {
        let state = self.0.lock();
        self.0.has_ended.store(true, Ordering::Relaxed);
        drop(state);
        self.0.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const MINUTE: Duration = Duration::from_secs(60);

    fn until_told(shared: &Shared<bool>) {
        let mut must_stop = shared.lock();
        while !*must_stop {
            must_stop = shared.wait(must_stop, None);
        }
    }

    #[test]
    fn it_starts_once_and_ends_when_it_is_told() {
        let background = Background::new(false);
        assert!(!background.is_running());
        let (tell, told) = mpsc::channel();
        for number in 0..3 {
            let tell = tell.clone();
            background.start(Builder::new(), move |shared| {
                let _ = tell.send(number);
                until_told(shared);
            });
        }
        drop(tell);
        assert!(background.is_running());
        assert_eq!(background.stop(|stop| *stop = true, MINUTE), End::Ended);
        assert_eq!(told.iter().collect::<Vec<_>>(), [0]);
        assert_eq!(background.stop(|_| {}, MINUTE), End::None);
    }

    #[test]
    fn without_a_thread_the_state_is_told_all_the_same() {
        let background = Background::new(false);
        assert_eq!(background.stop(|stop| *stop = true, MINUTE), End::None);
        assert!(*background.shared().lock());
    }

    #[test]
    fn what_is_held_up_is_left_behind() {
        let background = Background::new(false);
        let (tell, told) = mpsc::channel::<()>();
        let (end, ended) = mpsc::channel();
        background.start(Builder::new(), move |_| {
            let _ = told.recv_timeout(MINUTE);
            let _ = end.send(());
        });
        assert_eq!(background.stop(|_| {}, Duration::ZERO), End::Late);
        tell.send(()).expect("it waits for that");
        assert_eq!(ended.recv_timeout(MINUTE), Ok(()));
    }

    #[test]
    fn a_panic_is_an_end() {
        let background = Background::new(false);
        background.start(Builder::new(), |_| panic!("as a test wants it"));
        let state = background.shared().lock();
        drop(background.shared().wait_while(state, MINUTE, |_| true));
        assert_eq!(background.stop(|_| {}, Duration::ZERO), End::Ended);
    }
}
