// SPDX-License-Identifier: GPL-2.0-only

//! Socket addresses, as the connection manager takes them.
//!
//! C headers: [`include/linux/inet.h`](srctree/include/linux/inet.h),
//! [`include/rdma/ib.h`](srctree/include/rdma/ib.h)

use core::{
    mem::MaybeUninit,
    net::{
        Ipv4Addr,
        Ipv6Addr, //
    }, //
};

use kernel::{
    error::to_result,
    fmt,
    prelude::*,
    str::CString, //
};

use rnbd_proto::{
    session_identity::PathEnd,
    text::path_addr::Addr, //
};

use crate::bindings;

use super::log::Plain;

/// Address families, in the type of the field.
const AF_INET: u16 = bindings::AF_INET as u16;
const AF_INET6: u16 = bindings::AF_INET6 as u16;
const AF_IB: u16 = bindings::AF_IB as u16;

/// Service ids of the port space `RDMA_PS_IB`; the low 16 bits are the port.
const IB_SERVICE: u64 = bindings::RDMA_IB_IP_PS_IB as u64;

/// The native address of an RDMA port, `struct sockaddr_ib`.
#[derive(Clone, Copy)]
#[repr(C)]
struct IbAddr {
    family: u16,
    pkey: u16,
    flowinfo: u32,
    gid: [u8; 16],
    sid: u64,
    sid_mask: u64,
    scope_id: u64,
}

static_assert!(size_of::<IbAddr>() == 48);

/// Returns the network namespace that all connections are made in.
pub(crate) fn init_net() -> *mut bindings::net {
    &raw mut bindings::init_net
}

/// Whether the calling task is in the network namespace [`init_net`].
pub fn is_caller_in_init_net() -> bool {
    // SAFETY: Only reads pointers of the calling task.
    unsafe { bindings::rtrs_caller_net() == init_net() }
}

/// A socket address with a port, a `struct sockaddr_storage`.
///
/// # Invariants
///
/// All bytes are initialised, and those behind the address itself are zero.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct SockAddr(bindings::__kernel_sockaddr_storage);

// SAFETY: Plain bytes; the C type has a pointer for its alignment only.
unsafe impl Send for SockAddr {}
// SAFETY: As above.
unsafe impl Sync for SockAddr {}

/// The parts of an address of a known family; an IPv6 one with its scope.
type Parts = (Addr<'static>, u32, u16);

impl SockAddr {
    /// Creates an IPv4 address.
    pub(super) fn v4(addr: Ipv4Addr, port: u16) -> Self {
        Self::zeroed().put(bindings::sockaddr_in {
            sin_family: AF_INET,
            sin_port: port.to_be(),
            sin_addr: bindings::in_addr {
                s_addr: u32::from_ne_bytes(addr.octets()),
            },
            ..Default::default()
        })
    }

    /// Creates an IPv6 address. The scope is the index of a network interface, or 0.
    pub(super) fn v6(addr: Ipv6Addr, scope: u32, port: u16) -> Self {
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

    /// Creates the IPv4 wildcard address.
    pub(crate) fn any_v4(port: u16) -> Self {
        Self::v4(Ipv4Addr::UNSPECIFIED, port)
    }

    /// Creates the IPv6 wildcard address.
    pub(crate) fn any_v6(port: u16) -> Self {
        Self::v6(Ipv6Addr::UNSPECIFIED, 0, port)
    }

    /// Creates an InfiniBand address.
    pub(crate) fn gid(gid: [u8; 16], port: u16) -> Self {
        Self::zeroed().put(IbAddr {
            family: AF_IB,
            pkey: 0xffff,
            flowinfo: 0,
            gid,
            sid: (IB_SERVICE | u64::from(port)).to_be(),
            sid_mask: u64::MAX,
            scope_id: 0,
        })
    }

    /// Converts the address of one end of a path. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the scope is not an interface of the network namespace
    /// [`init_net`]; `ENOMEM`.
    pub fn new(addr: &Addr<'_>, port: u16) -> Result<Self> {
        match *addr {
            Addr::V4(addr) => Ok(Self::v4(addr, port)),
            Addr::V6 { addr, scope: None } => Ok(Self::v6(addr, 0, port)),
            Addr::V6 {
                addr,
                scope: Some(scope),
            } => Self::scoped(addr, scope, port),
            Addr::Gid(gid) => Ok(Self::gid(gid, port)),
        }
    }

    /// Converts an IPv6 address whose scope is a name or a number (`inet_pton_with_scope`).
    fn scoped(addr: Ipv6Addr, scope: &str, port: u16) -> Result<Self> {
        let text = CString::try_from_fmt(fmt!("{}%{scope}", Plain(addr)))?;
        let mut addr = Self::zeroed();

        // SAFETY: A valid string, and room for any address, which stays
        // initialised as the callee only writes to it.
        to_result(unsafe {
            bindings::inet_pton_with_scope(
                init_net(),
                AF_INET6,
                text.as_char_ptr(),
                core::ptr::null(),
                &mut addr.0,
            )
        })?;
        Ok(addr.with_port(port))
    }

    /// Copies an address of the kernel.
    ///
    /// # Safety
    ///
    /// `addr` points to an initialised address.
    pub unsafe fn from_raw(addr: *const bindings::__kernel_sockaddr_storage) -> Self {
        // SAFETY: By the safety requirements.
        Self(unsafe { *addr })
    }

    /// Returns the address for C functions.
    pub fn as_ptr(&self) -> *mut bindings::sockaddr {
        (&raw const self.0).cast_mut().cast()
    }

    /// Creates the InfiniBand wildcard address.
    pub(crate) fn any_gid(port: u16) -> Self {
        Self::gid([0; 16], port)
    }

    /// Returns the port space of the connection manager for addresses of this family.
    pub(crate) fn port_space(&self) -> bindings::rdma_ucm_port_space {
        match self.parts() {
            Some((Addr::Gid(_), _, _)) => bindings::rdma_ucm_port_space_RDMA_PS_IB,
            _ => bindings::rdma_ucm_port_space_RDMA_PS_TCP,
        }
    }

    /// Returns the address without port and scope; `None` for an unknown family.
    pub fn addr(&self) -> Option<Addr<'static>> {
        self.parts().map(|(addr, _, _)| addr)
    }

    /// Returns the address with its scope; `None` for an unknown family.
    pub fn path_end(&self) -> Option<PathEnd> {
        self.parts().map(|(addr, scope, _)| PathEnd { addr, scope })
    }

    /// Returns the port; 0 for an unknown family.
    pub fn port(&self) -> u16 {
        self.parts().map_or(0, |(_, _, port)| port)
    }

    /// Returns the same address with another port.
    pub(crate) fn with_port(self, port: u16) -> Self {
        match self.parts() {
            Some((Addr::V4(addr), _, _)) => Self::v4(addr, port),
            Some((Addr::V6 { addr, .. }, scope, _)) => Self::v6(addr, scope, port),
            Some((Addr::Gid(gid), _, _)) => Self::gid(gid, port),
            None => self,
        }
    }

    fn zeroed() -> Self {
        // SAFETY: Plain integers, for which zero is fine.
        // INVARIANT: All zero.
        Self(unsafe { MaybeUninit::zeroed().assume_init() })
    }

    /// Overwrites the first bytes with an address of one family.
    fn put<T: Copy>(mut self, addr: T) -> Self {
        const { assert!(size_of::<T>() <= size_of::<Self>()) };
        const { assert!(align_of::<T>() <= align_of::<Self>()) };

        // SAFETY: Large enough and aligned, by the assertions.
        unsafe { (&raw mut self.0).cast::<T>().write(addr) };
        self
    }

    fn parts(&self) -> Option<Parts> {
        let raw = &raw const self.0;

        // SAFETY: All bytes are initialised by the type invariants, and the types
        // are integers throughout. They are no larger than the storage.
        unsafe {
            match (*raw.cast::<bindings::sockaddr>()).sa_family {
                AF_INET => {
                    let addr = &*raw.cast::<bindings::sockaddr_in>();
                    let ip = Ipv4Addr::from(addr.sin_addr.s_addr.to_ne_bytes());
                    Some((Addr::V4(ip), 0, u16::from_be(addr.sin_port)))
                }
                AF_INET6 => {
                    let addr = &*raw.cast::<bindings::sockaddr_in6>();
                    let ip = Addr::V6 {
                        addr: addr.sin6_addr.in6_u.u6_addr8.into(),
                        scope: None,
                    };
                    Some((ip, addr.sin6_scope_id, u16::from_be(addr.sin6_port)))
                }
                AF_IB => {
                    let addr = &*raw.cast::<IbAddr>();
                    let [.., high, low] = addr.sid.to_ne_bytes();
                    Some((Addr::Gid(addr.gid), 0, u16::from_be_bytes([high, low])))
                }
                _ => None,
            }
        }
    }
}

/// Addresses of an unknown family are unequal to every address.
impl PartialEq for SockAddr {
    fn eq(&self, other: &Self) -> bool {
        self.parts()
            .is_some_and(|parts| Some(parts) == other.parts())
    }
}

/// Prints the address as in the names of paths in sysfs: `ip:10.50.100.66`, `ip:fe80::1`,
/// without port and scope.
impl core::fmt::Display for SockAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            Some((addr, _, _)) => addr.fmt(f),
            None => f.write_str("<invalid address family>"),
        }
    }
}

impl fmt::Display for SockAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}
