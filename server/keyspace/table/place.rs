//! Found elements: borrowed to be read, or with their place to be changed.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{ADDRESS_MASK, Element, Table};

/// An element seen in its table; it stays the table's.
pub struct Borrowed<'a, E: Element> {
    element: ManuallyDrop<E>,
    life: PhantomData<&'a E>,
}

impl<E: Element> Borrowed<'_, E> {
    pub(super) fn of(word: u64) -> Self {
        let raw =
            NonNull::new((word & ADDRESS_MASK) as *mut u8).expect("a used word has an address");
        // SAFETY: the word was made by `into_raw`; ManuallyDrop keeps the
        // table's ownership intact.
        let element = ManuallyDrop::new(unsafe { E::from_raw(raw) });
        Self {
            element,
            life: PhantomData,
        }
    }
}

impl<E: Element> Deref for Borrowed<'_, E> {
    type Target = E;
    #[inline]
    fn deref(&self) -> &E {
        &self.element
    }
}

impl<'a, E: Element> Borrowed<'a, E> {
    /// The element with the table's lifetime.
    #[inline]
    pub fn get<R: ?Sized>(&self, project: impl FnOnce(&'a E) -> &'a R) -> &'a R {
        // SAFETY: the element lives as long as the table's borrow 'a, for it
        // is a thin pointer whose target the table owns; `project` may only
        // reach through it.
        project(unsafe { &*std::ptr::from_ref::<E>(&self.element) })
    }
}

/// The place of a found element: it can be read, replaced or taken out.
pub struct Place<'a, E: Element> {
    pub(super) word: *const AtomicU64,
    pub(super) table: &'a mut Table<E>,
}

impl<E: Element> Place<'_, E> {
    /// The element.
    #[inline]
    pub fn get(&self) -> Borrowed<'_, E> {
        Borrowed::of(self.word().load(Ordering::Relaxed))
    }

    #[inline]
    fn word(&self) -> &AtomicU64 {
        // SAFETY: `word` points into a bucket that the table, borrowed
        // mutably by this place, owns.
        unsafe { &*self.word }
    }

    /// Runs `change` on the owned element and stores what it returns, which
    /// must have the same key.
    #[inline]
    pub fn update(&mut self, change: impl FnOnce(E) -> E) {
        // SAFETY: as in `get`; the old element's ownership goes to `change`
        // and the word is overwritten before anything can read it.
        unsafe {
            let word = self.word().load(Ordering::Relaxed);
            let raw = NonNull::new_unchecked((word & ADDRESS_MASK) as *mut u8);
            let changed = change(E::from_raw(raw));
            let changed = (word & !ADDRESS_MASK) | address(changed);
            self.word().store(changed, Ordering::Relaxed);
        }
    }

    /// Swaps in another element with the same key and gives back the old one.
    #[inline]
    pub fn replace(&mut self, element: E) -> E {
        // SAFETY: as in `update`.
        unsafe {
            let word = self.word().load(Ordering::Relaxed);
            let changed = (word & !ADDRESS_MASK) | address(element);
            self.word().store(changed, Ordering::Relaxed);
            E::from_raw(NonNull::new_unchecked((word & ADDRESS_MASK) as *mut u8))
        }
    }

    /// A part of the element, to change it for as long as the table is
    /// borrowed. `project` may only reach through the element's pointer.
    #[inline]
    pub fn into_part<'b, R>(
        self,
        project: impl FnOnce(&mut E) -> Option<&mut R>,
    ) -> Option<&'b mut R>
    where
        Self: 'b,
    {
        // SAFETY: as in `get`; the part lies behind the thin pointer, which
        // the table owns and keeps borrowed mutably for 'b.
        unsafe {
            let raw = NonNull::new_unchecked(
                (self.word().load(Ordering::Relaxed) & ADDRESS_MASK) as *mut u8,
            );
            let mut element = ManuallyDrop::new(E::from_raw(raw));
            project(&mut element).map(|part| &mut *std::ptr::from_mut(part))
        }
    }

    /// Takes the element out of the table.
    pub fn remove(self) -> E {
        // SAFETY: as in `update`; the word is emptied.
        let element = unsafe {
            let word = self.word().load(Ordering::Relaxed);
            self.word().store(0, Ordering::Relaxed);
            E::from_raw(NonNull::new_unchecked((word & ADDRESS_MASK) as *mut u8))
        };
        self.table.len -= 1;
        self.table.after_removal();
        element
    }
}

/// Gives up an element as the lower bits of its word.
pub(super) fn address<E: Element>(element: E) -> u64 {
    let raw = element.into_raw().as_ptr() as u64;
    debug_assert_eq!(raw & !ADDRESS_MASK, 0);
    raw
}
