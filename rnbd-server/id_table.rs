// SPDX-License-Identifier: GPL-2.0-only

//! A table of values by device id.

#![deny(unsafe_code)]

use kernel::prelude::*;

use rnbd_proto::wire::rnbd::DeviceId;

/// The bits of an id that are the index into the table. The other bits count how often
/// the entry was used, so that the id of a closed device, for example in a late request,
/// does not match the next device in the same entry.
const INDEX_BITS: u32 = 10;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;
const GENERATION_MASK: u32 = u32::MAX >> INDEX_BITS;

/// The number of entries of a table.
pub(crate) const MAX_IDS: usize = 1 << INDEX_BITS;

struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// A table of values by device id. Only [`Self::new`] allocates.
pub(crate) struct IdTable<T> {
    entries: KVVec<Entry<T>>,
}

impl<T> IdTable<T> {
    /// Creates an empty table.
    pub(crate) fn new() -> Result<Self> {
        let mut entries = KVVec::with_capacity(MAX_IDS, GFP_KERNEL)?;

        for _ in 0..MAX_IDS {
            entries.push(
                Entry {
                    generation: 0,
                    value: None,
                },
                GFP_KERNEL,
            )?;
        }
        Ok(Self { entries })
    }

    /// Returns a free id.
    pub(crate) fn vacant(&self) -> Option<DeviceId> {
        let index = self.entries.iter().position(|e| e.value.is_none())?;
        let generation = self.entries.get(index)?.generation;

        // CAST: Indices are below `MAX_IDS`.
        Some(DeviceId(generation << INDEX_BITS | index as u32))
    }

    /// Stores `value` under an id returned by [`Self::vacant`]; returns it as the error if
    /// the id is in use.
    pub(crate) fn insert(&mut self, id: DeviceId, value: T) -> Result<(), T> {
        match self.entry_mut(id) {
            Some(entry) if entry.value.is_none() => {
                entry.value = Some(value);
                Ok(())
            }
            _ => Err(value),
        }
    }

    /// Returns the value of `id`.
    #[inline]
    pub(crate) fn get(&self, id: DeviceId) -> Option<&T> {
        let (index, generation) = split(id);
        let entry = self.entries.get(index)?;

        if entry.generation != generation {
            return None;
        }
        entry.value.as_ref()
    }

    /// Removes all values that `keep` is not true for. Their ids are not used again until
    /// their generation wraps.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        for entry in &mut self.entries {
            if entry.value.take_if(|value| !keep(value)).is_some() {
                entry.generation = entry.generation.wrapping_add(1) & GENERATION_MASK;
            }
        }
    }

    /// Iterates over all values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (DeviceId, &T)> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| {
                // CAST: Indices are below `MAX_IDS`.
                let id = DeviceId(entry.generation << INDEX_BITS | index as u32);

                Some((id, entry.value.as_ref()?))
            })
    }

    fn entry_mut(&mut self, id: DeviceId) -> Option<&mut Entry<T>> {
        let (index, generation) = split(id);

        self.entries
            .get_mut(index)
            .filter(|entry| entry.generation == generation)
    }
}

/// Returns the index of `id` in a table of [`MAX_IDS`] entries.
#[inline]
pub(crate) fn index(id: DeviceId) -> usize {
    split(id).0
}

#[inline]
fn split(id: DeviceId) -> (usize, u32) {
    // CAST: Lossless where Linux runs.
    ((id.0 & INDEX_MASK) as usize, id.0 >> INDEX_BITS)
}
