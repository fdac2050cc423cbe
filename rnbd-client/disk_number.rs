// SPDX-License-Identifier: GPL-2.0-only

//! Numbers of disks: the `<N>` of `/dev/rnbd<N>`.

#![deny(unsafe_code)]

use kernel::{
    id_pool::IdPool,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// Largest number of disks.
const MAX_DISKS: usize = 1 << 14;

/// The numbers in use.
#[pin_data]
pub(crate) struct DiskNumbers {
    #[pin]
    pool: Mutex<IdPool>,
}

impl DiskNumbers {
    /// Creates a pool of which no number is in use.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                pool <- new_mutex!(IdPool::new(), "rnbd_numbers"),
            }),
            GFP_KERNEL,
        )
    }

    /// Allocates the lowest free number.
    ///
    /// # Errors
    ///
    /// `ENOSPC` when all are in use, `ENOMEM`.
    pub(crate) fn allocate(this: &Arc<Self>) -> Result<DiskNumber> {
        let mut pool = this.pool.lock();
        loop {
            if let Some(id) = pool.find_unused_id(0) {
                if id.as_usize() >= MAX_DISKS {
                    return Err(ENOSPC);
                }
                let value = u32::try_from(id.as_usize())?;
                id.acquire();
                return Ok(DiskNumber {
                    value,
                    numbers: this.clone(),
                });
            }
            let larger = pool.grow_request().ok_or(ENOSPC)?.realloc(GFP_KERNEL)?;
            pool.grow(larger);
        }
    }
}

/// A number in use, until it is dropped.
pub(crate) struct DiskNumber {
    value: u32,
    numbers: Arc<DiskNumbers>,
}

impl DiskNumber {
    /// Returns the number.
    pub(crate) fn get(&self) -> u32 {
        self.value
    }
}

impl Drop for DiskNumber {
    fn drop(&mut self) {
        self.numbers.pool.lock().release_id(self.value as usize);
    }
}
