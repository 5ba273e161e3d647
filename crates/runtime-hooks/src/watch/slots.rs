//! The slots of this process: their memory, which thread has which, and what is written to them.
//!
//! A signal handler walks them, so nothing that it may look at ever goes away: [`Region`]s are linked
//! into a list for good, and one that is not in use has zeros mapped in the place of its file until it is
//! used again. Their layout is that of `rekindle_cache_core::store::running`.

use super::Origin;
use rekindle_cache_core::store::running::{BYTES, SLOTS};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering, compiler_fence};

/// One slot, as it lies in the file.
#[repr(C, align(64))]
struct Slot {
    /// The depth in the low half, the signal in the high one.
    state: AtomicU64,
    image: AtomicU64,
    key: [AtomicU64; 4],
    run: AtomicU64,
    zero: AtomicU64,
}

#[cfg(target_endian = "little")]
const SIGNAL_SHIFT: u32 = 32;
#[cfg(target_endian = "big")]
compile_error!("the halves of a slot's state are the other way round");

const _: () = assert!(size_of::<Slot>() == 64 && BYTES == 64 * (SLOTS + 1));

/// Memory for the slots of one cache, and who has them. Never freed.
struct Region {
    next: *mut Region,
    is_taken: AtomicBool,
    /// The process that has it; a forked child has a copy that is not its own.
    process: AtomicI32,
    memory: *mut Slot,
    /// The thread that has each slot, 0 if none.
    owners: [AtomicI32; SLOTS],
}

// SAFETY: `next` and `memory` never change once the region is in the list; the memory stays mapped and
// is accessed atomically, as is everything else.
unsafe impl Sync for Region {}

/// All regions.
static REGIONS: AtomicPtr<Region> = AtomicPtr::new(ptr::null_mut());

/// How many tables there have been.
static TABLES: AtomicU64 = AtomicU64::new(1);

/// No table.
const NONE: u64 = 0;

thread_local! {
    /// The table that this thread used last, and its place there; `SLOTS` if there was none left.
    static PLACE: Cell<(u64, usize)> = const { Cell::new((NONE, SLOTS)) };
    /// Gives the places of a thread back when it ends.
    static GIVEN_BACK: GiveBack = const { GiveBack };
}

struct GiveBack;

impl Drop for GiveBack {
    fn drop(&mut self) {
        let thread = thread_id();
        for region in regions() {
            for owner in &region.owners {
                let _ = owner.compare_exchange(thread, 0, Ordering::AcqRel, Ordering::Relaxed);
            }
        }
        // What this thread still runs must not write to a slot that is another's.
        PLACE.set((NONE, SLOTS));
    }
}

/// The slots of one cache in this process.
pub(super) struct Table {
    region: &'static Region,
    number: u64,
    /// What was in a slot before the innermost run, from the outermost on.
    outer: Mutex<Vec<Outer>>,
}

/// A run in which another one was begun.
struct Outer {
    place: usize,
    image: u64,
    key: [u64; 4],
    run: u64,
}

impl Table {
    /// Maps a file of slots.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn map(file: &File) -> io::Result<Self> {
        let process = std::process::id().cast_signed();
        let region = match regions().find(|region| region.take()) {
            Some(region) => region,
            None => Region::new()?,
        };
        let memory = region.memory.cast();
        // SAFETY: the region is this table's alone, has that size, and is accessed by atomic words only, for
        // which any contents are values. The file has that size as well and its process truncates it never;
        // should somebody else, an access ends this process, as with packs.
        let mapped = unsafe {
            mmap(
                memory,
                BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::FIXED,
                file,
                0,
            )
        };
        if let Err(error) = mapped {
            region.is_taken.store(false, Ordering::Release);
            return Err(error.into());
        }
        for owner in &region.owners {
            owner.store(0, Ordering::Relaxed);
        }
        let number = TABLES.fetch_add(1, Ordering::Relaxed);
        region.process.store(process, Ordering::Release);
        Ok(Self {
            region,
            number,
            outer: Mutex::default(),
        })
    }

    /// Writes down what this thread is about to run: the place of its slot, and which run of it that is.
    /// `None` if there is no slot left.
    #[inline]
    pub(super) fn enter(&self, origin: &Origin) -> Option<(usize, u64)> {
        let (table, mut place) = PLACE.get();
        if table != self.number {
            place = self.find_place();
        }
        let slot = self.region.slot(place)?;
        let state = slot.state.load(Ordering::Relaxed);
        if state != 0 {
            self.enter_deeper(place, slot);
        }
        let run = slot.run.load(Ordering::Relaxed) + 1;
        slot.run.store(run, Ordering::Relaxed);
        slot.write(origin.image, &words(origin));
        slot.state.store(depth(state) + 1, Ordering::Release);
        Some((place, run))
    }

    /// The run is over.
    #[inline]
    pub(super) fn leave(&self, place: usize, run: u64) {
        let Some(slot) = self.region.slot(place) else {
            return;
        };
        let state = slot.state.load(Ordering::Relaxed);
        if slot.run.load(Ordering::Relaxed) == run && depth(state) <= 1 {
            slot.state.store(0, Ordering::Release);
        } else {
            self.leave_deeper(place, slot, run);
        }
    }

    #[cold]
    fn enter_deeper(&self, place: usize, slot: &Slot) {
        let (image, key) = slot.read();
        let outer = Outer {
            place,
            image,
            key,
            run: slot.run.load(Ordering::Relaxed),
        };
        crate::lock(&self.outer).push(outer);
    }

    /// Ends the innermost of several runs, or one further out before those that are in it.
    #[cold]
    fn leave_deeper(&self, place: usize, slot: &Slot, run: u64) {
        let mut outer = crate::lock(&self.outer);
        let mine = |outer: &Outer| outer.place == place;
        if slot.run.load(Ordering::Relaxed) != run {
            outer.retain(|outer| !(mine(outer) && outer.run == run));
        } else if let Some(last) = outer.iter().rposition(mine) {
            let last = outer.remove(last);
            slot.state.store(0, Ordering::Release);
            slot.write(last.image, &last.key);
            slot.run.store(last.run, Ordering::Relaxed);
        }
        let left = outer.iter().filter(|outer| mine(outer)).count() as u64;
        slot.state.store(left + 1, Ordering::Release);
    }

    /// This thread's place; `SLOTS` if there is none left.
    #[cold]
    fn find_place(&self) -> usize {
        let thread = thread_id();
        let owners = &self.region.owners;
        let has = |owner: &AtomicI32| owner.load(Ordering::Relaxed) == thread;
        let place = owners.iter().position(has).or_else(|| {
            let is_free = |owner: &AtomicI32| {
                let taken = owner.compare_exchange(0, thread, Ordering::AcqRel, Ordering::Relaxed);
                taken.is_ok()
            };
            // A thread that is at its end, and has given its places back, gets none.
            GIVEN_BACK.try_with(|_| ()).ok()?;
            let place = owners.iter().position(is_free)?;
            if let Some(slot) = self.region.slot(place) {
                // The thread that had it may have ended inside of a run.
                slot.state.store(0, Ordering::Release);
                crate::lock(&self.outer).retain(|outer| outer.place != place);
            }
            Some(place)
        });
        let place = place.unwrap_or(SLOTS);
        PLACE.set((self.number, place));
        place
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.region.process.store(0, Ordering::Release);
        // Should that fail, the region keeps the file's pages, and is used by nobody again.
        if self.region.clear().is_ok() {
            self.region.is_taken.store(false, Ordering::Release);
        }
    }
}

impl Region {
    fn new() -> io::Result<&'static Self> {
        // SAFETY: a fresh mapping, which no address that Rust knows of lies in.
        let memory = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let region = Box::into_raw(Box::new(Self {
            next: ptr::null_mut(),
            is_taken: AtomicBool::new(true),
            process: AtomicI32::new(0),
            memory: memory.cast(),
            owners: [const { AtomicI32::new(0) }; SLOTS],
        }));
        let mut first = REGIONS.load(Ordering::Acquire);
        loop {
            // SAFETY: nobody else has seen the region yet.
            unsafe { (*region).next = first };
            let pushed =
                REGIONS.compare_exchange(first, region, Ordering::AcqRel, Ordering::Acquire);
            match pushed {
                // SAFETY: it is never freed, and from now on changed atomically only.
                Ok(_) => return Ok(unsafe { &*region }),
                Err(other) => first = other,
            }
        }
    }

    fn take(&self) -> bool {
        let taken =
            (self.is_taken).compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed);
        taken.is_ok()
    }

    /// Has zeros in the place of the file.
    fn clear(&self) -> io::Result<()> {
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the region's memory has that size, is accessed by atomic words only, and is replaced in
        // one step: whoever reads it meanwhile reads the file's words or zeros.
        unsafe { mmap_anonymous(self.memory.cast(), BYTES, protection, flags) }?;
        Ok(())
    }

    #[inline]
    fn slot(&self, place: usize) -> Option<&Slot> {
        // SAFETY: behind the header there are `SLOTS` slots, which stay mapped.
        (place < SLOTS).then(|| unsafe { &*self.memory.add(1 + place) })
    }
}

impl Slot {
    #[inline]
    fn write(&self, image: u64, key: &[u64; 4]) {
        self.image.store(image, Ordering::Relaxed);
        for (word, value) in self.key.iter().zip(key) {
            word.store(*value, Ordering::Relaxed);
        }
    }

    fn read(&self) -> (u64, [u64; 4]) {
        let key = [0, 1, 2, 3]
            .map(|word: usize| (self.key.get(word)).map_or(0, |word| word.load(Ordering::Relaxed)));
        (self.image.load(Ordering::Relaxed), key)
    }
}

/// Notes in the slots of this thread that a signal is about to end it. For a signal handler: makes one
/// system call or two, takes no lock and allocates nothing.
pub(super) fn note(signal: u32) {
    for slot in of_this_thread() {
        let state = slot.state.load(Ordering::Relaxed);
        if depth(state) > 0 {
            let noted = depth(state) | u64::from(signal) << SIGNAL_SHIFT;
            slot.state.store(noted, Ordering::Release);
        }
    }
}

/// Takes back what [`note`] noted.
pub(super) fn take_back() {
    for slot in of_this_thread() {
        let state = slot.state.load(Ordering::Relaxed);
        slot.state.store(depth(state), Ordering::Release);
    }
}

fn of_this_thread() -> impl Iterator<Item = &'static Slot> {
    compiler_fence(Ordering::SeqCst);
    let process = std::process::id().cast_signed();
    let thread = thread_id();
    let regions = regions().filter(move |region| region.process.load(Ordering::Acquire) == process);
    regions.filter_map(move |region| {
        let owners = region.owners.iter();
        let mut places = owners.map(|owner| owner.load(Ordering::Relaxed));
        region.slot(places.position(|owner| owner == thread)?)
    })
}

fn regions() -> impl Iterator<Item = &'static Region> {
    let mut next = REGIONS.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: regions are never freed, and `next` does not change once one is in the list.
        let region = unsafe { next.as_ref() }?;
        next = region.next;
        Some(region)
    })
}

fn depth(state: u64) -> u64 {
    state & u64::from(u32::MAX)
}

#[inline]
fn words(origin: &Origin) -> [u64; 4] {
    let bytes = &origin.key.0.0;
    let word = |at: usize| {
        let bytes = bytes
            .get(at..at + 8)
            .and_then(|bytes| bytes.try_into().ok());
        u64::from_ne_bytes(bytes.unwrap_or_default())
    };
    [word(0), word(8), word(16), word(24)]
}

fn thread_id() -> i32 {
    // SAFETY: it has no preconditions.
    unsafe { libc::gettid() }
}
