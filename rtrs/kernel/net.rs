// SPDX-License-Identifier: GPL-2.0-only

//! Socket addresses, in the form that the connection manager takes.
//!
//! C header: [`include/linux/inet.h`](srctree/include/linux/inet.h)

use core::mem::MaybeUninit;
use core::net::Ipv4Addr;
use core::net::Ipv6Addr;

use kernel::error::to_result;
use kernel::ffi::c_int;
use kernel::fmt;
use kernel::prelude::*;

use crate::bindings;

/// Families, as they stand in an address.
const AF_INET: u16 = bindings::AF_INET as u16;
const AF_INET6: u16 = bindings::AF_INET6 as u16;

/// The network namespace that the block devices live in.
pub fn init_net() -> *mut bindings::net {
    &raw mut bindings::init_net
}

/// An address with a port.
///
/// # Invariants
///
/// All bytes are initialised, and those after the address proper are zero.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct SockAddr(bindings::__kernel_sockaddr_storage);

/// The parts of an address, as far as they are of a family that is known.
#[derive(PartialEq)]
enum Parts {
    V4(Ipv4Addr, u16),
    V6(Ipv6Addr, u32, u16),
    Other(u16),
}

impl SockAddr {
    /// An IPv4 address.
    pub fn v4(addr: Ipv4Addr, port: u16) -> Self {
        Self::zeroed().put(bindings::sockaddr_in {
            sin_family: AF_INET,
            sin_port: port.to_be(),
            sin_addr: bindings::in_addr {
                s_addr: u32::from_ne_bytes(addr.octets()),
            },
            ..Default::default()
        })
    }

    /// An IPv6 address. The scope is the index of an interface, or 0.
    pub fn v6(addr: Ipv6Addr, scope: u32, port: u16) -> Self {
        Self::zeroed().put(bindings::sockaddr_in6 {
            sin6_family: AF_INET6,
            sin6_port: port.to_be(),
            sin6_addr: bindings::in6_addr {
                in6_u: bindings::in6_addr__bindgen_ty_1 {
                    u6_addr8: addr.octets(),
                },
            },
            sin6_scope_id: scope,
            ..Default::default()
        })
    }

    /// All addresses of this machine, IPv4 ones included.
    pub fn any(port: u16) -> Self {
        Self::v6(Ipv6Addr::UNSPECIFIED, 0, port)
    }

    /// Reads an IPv4 or IPv6 address, the latter also with a scope as in
    /// `fe80::1%eth0`. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a malformed address or an unknown interface.
    pub fn parse(text: &CStr, port: u16) -> Result<Self> {
        let mut addr = Self::zeroed();

        // SAFETY: A valid string, and room for any address, which stays
        // initialised as the callee only writes to it.
        to_result(unsafe {
            bindings::inet_pton_with_scope(
                init_net(),
                bindings::AF_UNSPEC as u16,
                text.as_char_ptr(),
                core::ptr::null(),
                &mut addr.0,
            )
        })?;
        Ok(addr.with_port(port))
    }

    /// Copies an address that the kernel gave.
    ///
    /// # Safety
    ///
    /// `addr` points to an initialised address.
    pub unsafe fn from_raw(addr: *const bindings::__kernel_sockaddr_storage) -> Self {
        // SAFETY: By the safety requirements.
        Self(unsafe { *addr })
    }

    /// The address for C functions.
    pub fn as_ptr(&self) -> *mut bindings::sockaddr {
        (&raw const self.0).cast_mut().cast()
    }

    /// The port; 0 for a family without.
    pub fn port(&self) -> u16 {
        match self.parts() {
            Parts::V4(_, port) | Parts::V6(_, _, port) => port,
            Parts::Other(_) => 0,
        }
    }

    /// The same address with another port.
    pub fn with_port(self, port: u16) -> Self {
        match self.parts() {
            Parts::V4(addr, _) => Self::v4(addr, port),
            Parts::V6(addr, scope, _) => Self::v6(addr, scope, port),
            Parts::Other(_) => self,
        }
    }

    /// Sets the port.
    pub fn set_port(&mut self, port: u16) {
        *self = self.with_port(port);
    }

    fn zeroed() -> Self {
        // SAFETY: Plain integers, for which zero is fine.
        // INVARIANT: All zero.
        Self(unsafe { MaybeUninit::zeroed().assume_init() })
    }

    /// Overwrites the first bytes with an address of some family.
    fn put<T: Copy>(mut self, addr: T) -> Self {
        const { assert!(size_of::<T>() <= size_of::<Self>()) };
        const { assert!(align_of::<T>() <= align_of::<Self>()) };

        // SAFETY: Large enough and aligned, by the assertions.
        unsafe { (&raw mut self.0).cast::<T>().write(addr) };
        self
    }

    fn parts(&self) -> Parts {
        let raw = &raw const self.0;

        // SAFETY: All bytes are initialised by the type invariants, and the types
        // are integers throughout. They are no larger than the storage.
        unsafe {
            match (*raw.cast::<bindings::sockaddr>()).sa_family {
                AF_INET => {
                    let addr = &*raw.cast::<bindings::sockaddr_in>();
                    let octets = addr.sin_addr.s_addr.to_ne_bytes();
                    Parts::V4(octets.into(), u16::from_be(addr.sin_port))
                }
                AF_INET6 => {
                    let addr = &*raw.cast::<bindings::sockaddr_in6>();
                    let octets = addr.sin6_addr.in6_u.u6_addr8;
                    let port = u16::from_be(addr.sin6_port);
                    Parts::V6(octets.into(), addr.sin6_scope_id, port)
                }
                other => Parts::Other(other),
            }
        }
    }
}

impl PartialEq for SockAddr {
    fn eq(&self, other: &Self) -> bool {
        match (self.parts(), other.parts()) {
            // There is nothing to compare but the family.
            (Parts::Other(_), _) | (_, Parts::Other(_)) => false,
            (ours, theirs) => ours == theirs,
        }
    }
}

/// Prints as path names in sysfs have it: `ip:10.50.100.66`, `ip:fe80::1`.
///
/// Neither port nor scope are shown. IPv6 is left to the kernel, whose idea of a
/// short form differs from that of `core` for some addresses.
impl core::fmt::Display for SockAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            Parts::V4(addr, _) => write!(f, "ip:{addr}"),
            Parts::V6(addr, _, _) => {
                let mut text = [0; 48];
                let octets = addr.octets();

                // SAFETY: The format takes a pointer to the 16 bytes of an address.
                let len: c_int = unsafe {
                    bindings::scnprintf(
                        text.as_mut_ptr().cast(),
                        text.len(),
                        c"%pI6c".as_char_ptr(),
                        octets.as_ptr(),
                    )
                };
                let text = usize::try_from(len).ok().and_then(|len| text.get(..len));
                let text = core::str::from_utf8(text.ok_or(fmt::Error)?);
                write!(f, "ip:{}", text.map_err(|_| fmt::Error)?)
            }
            Parts::Other(family) => write!(f, "family:{family}"),
        }
    }
}

impl fmt::Display for SockAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}
