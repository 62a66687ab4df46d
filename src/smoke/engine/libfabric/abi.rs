//! The structures and constants of libfabric's headers (libfabric 1.17) that are used here, and no others.
//!
//! What libfabric allocates is declared up to the last field that is used: later versions only add fields at the end
//! (fi_getinfo(3), `fi_version`). What this program allocates is declared completely.
#![forbid(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};

/// `FI_VERSION` of fabric.h.
pub(super) const fn version(major: u32, minor: u32) -> u32 {
    major << 16 | minor
}

/// `FI_MSG` of fabric.h.
pub(super) const FI_MSG: u64 = 1 << 1;
/// `FI_RMA` of fabric.h.
pub(super) const FI_RMA: u64 = 1 << 2;
/// `FI_READ` of fabric.h.
pub(super) const FI_READ: u64 = 1 << 8;
/// `FI_WRITE` of fabric.h.
pub(super) const FI_WRITE: u64 = 1 << 9;
/// `FI_RECV` of fabric.h.
pub(super) const FI_RECV: u64 = 1 << 10;
/// `FI_TRANSMIT` of fabric.h, which is `FI_SEND`.
pub(super) const FI_TRANSMIT: u64 = 1 << 11;
/// `FI_REMOTE_READ` of fabric.h.
pub(super) const FI_REMOTE_READ: u64 = 1 << 12;
/// `FI_REMOTE_WRITE` of fabric.h.
pub(super) const FI_REMOTE_WRITE: u64 = 1 << 13;
/// `FI_DELIVERY_COMPLETE` of fabric.h.
pub(super) const FI_DELIVERY_COMPLETE: u64 = 1 << 28;
/// `FI_HMEM` of fabric.h: device memory too.
pub(super) const FI_HMEM: u64 = 1 << 47;
/// `FI_LOCAL_COMM` of fabric.h.
pub(super) const FI_LOCAL_COMM: u64 = 1 << 51;
/// `FI_REMOTE_COMM` of fabric.h.
pub(super) const FI_REMOTE_COMM: u64 = 1 << 52;
/// `FI_PROV_ATTR_ONLY` of fabric.h: lists the providers, usable or not.
pub(super) const FI_PROV_ATTR_ONLY: u64 = 1 << 54;
/// `FI_CONTEXT2` of fabric.h: the provider uses eight words of every operation's context.
pub(super) const FI_CONTEXT2: u64 = 1 << 52;
/// `FI_CONTEXT` of fabric.h: it uses four words.
pub(super) const FI_CONTEXT: u64 = 1 << 59;
/// `FI_ORDER_SAW` of fabric.h: a send is processed after the writes before it.
pub(super) const FI_ORDER_SAW: u64 = 1 << 7;
/// `FI_MR_LOCAL` of fabric.h: local buffers need a descriptor.
pub(super) const FI_MR_LOCAL: c_int = 1 << 2;
/// `FI_MR_VIRT_ADDR` of fabric.h: remote memory is addressed by its virtual address, not by an offset.
pub(super) const FI_MR_VIRT_ADDR: c_int = 1 << 4;
/// `FI_MR_ALLOCATED` of fabric.h: only allocated memory can be registered.
pub(super) const FI_MR_ALLOCATED: c_int = 1 << 5;
/// `FI_MR_PROV_KEY` of fabric.h: the provider chooses the key.
pub(super) const FI_MR_PROV_KEY: c_int = 1 << 6;
/// `FI_MR_ENDPOINT` of fabric.h: a registration is bound to an endpoint.
pub(super) const FI_MR_ENDPOINT: c_int = 1 << 9;
/// `FI_MR_HMEM` of fabric.h: local device memory needs a descriptor.
pub(super) const FI_MR_HMEM: c_int = 1 << 10;
/// `FI_HMEM_CUDA` of fi_domain.h.
pub(super) const FI_HMEM_CUDA: c_int = 1;
/// `FI_EP_RDM` of fabric.h.
pub(super) const FI_EP_RDM: c_int = 3;
/// `FI_PROGRESS_MANUAL` of fabric.h: libfabric makes progress only when it is called.
pub(super) const FI_PROGRESS_MANUAL: c_int = 2;
/// `FI_ENABLE` of fabric.h.
pub(super) const FI_ENABLE: c_int = 6;
/// `FI_OPT_ENDPOINT` of fi_endpoint.h.
pub(super) const FI_OPT_ENDPOINT: c_int = 0;
/// `FI_OPT_SHARED_MEMORY_PERMITTED` of fi_endpoint.h, since libfabric 1.18; the value is that of 2.1.0's header.
pub(super) const FI_OPT_SHARED_MEMORY_PERMITTED: c_int = 11;
/// `FI_CQ_FORMAT_MSG` of fi_eq.h.
pub(super) const FI_CQ_FORMAT_MSG: c_int = 2;
/// `FI_EAGAIN` of fi_errno.h.
pub(super) const FI_EAGAIN: isize = 11;
/// `FI_EINVAL` of fi_errno.h.
pub(super) const FI_EINVAL: isize = 22;
/// `FI_ENODATA` of fi_errno.h: nothing matches the hints.
pub(super) const FI_ENODATA: c_int = 61;
/// `FI_EAVAIL` of fi_errno.h: an error can be read from the completion queue.
pub(super) const FI_EAVAIL: isize = 259;

/// Size of an operation's context in bytes: `struct fi_context2` of fabric.h.
pub(super) const CONTEXT: usize = 64;

/// An object of libfabric of which nothing is used here.
pub(super) type Object = *mut c_void;

/// `struct fid` of fabric.h.
#[repr(C)]
pub(super) struct Fid {
    pub fclass: usize,
    pub context: *mut c_void,
    pub ops: *const FiOps,
}

/// `struct fi_ops` of fabric.h.
#[repr(C)]
pub(super) struct FiOps {
    pub size: usize,
    pub close: unsafe extern "C" fn(*mut Fid) -> c_int,
    pub bind: unsafe extern "C" fn(*mut Fid, *mut Fid, u64) -> c_int,
    pub control: unsafe extern "C" fn(*mut Fid, c_int, *mut c_void) -> c_int,
}

/// `struct fi_info` of fabric.h.
#[repr(C)]
pub(super) struct FiInfo {
    pub next: *mut FiInfo,
    pub caps: u64,
    pub mode: u64,
    pub addr_format: u32,
    pub src_addrlen: usize,
    pub dest_addrlen: usize,
    pub src_addr: *mut c_void,
    pub dest_addr: *mut c_void,
    pub handle: *mut Fid,
    pub tx_attr: *mut TxAttr,
    pub rx_attr: *mut RxAttr,
    pub ep_attr: *mut EpAttr,
    pub domain_attr: *mut DomainAttr,
    pub fabric_attr: *mut FabricAttr,
}

/// The beginning of `struct fi_tx_attr` of fabric.h.
#[repr(C)]
pub(super) struct TxAttr {
    pub caps: u64,
    pub mode: u64,
    pub op_flags: u64,
    pub msg_order: u64,
}

/// The beginning of `struct fi_rx_attr` of fabric.h.
#[repr(C)]
pub(super) struct RxAttr {
    pub caps: u64,
    pub mode: u64,
    pub op_flags: u64,
    pub msg_order: u64,
}

/// The beginning of `struct fi_ep_attr` of fabric.h.
#[repr(C)]
pub(super) struct EpAttr {
    pub r#type: c_int,
    pub protocol: u32,
    pub protocol_version: u32,
    pub max_msg_size: usize,
}

/// The beginning of `struct fi_domain_attr` of fabric.h.
#[repr(C)]
pub(super) struct DomainAttr {
    pub domain: Object,
    pub name: *mut c_char,
    pub threading: c_int,
    pub control_progress: c_int,
    pub data_progress: c_int,
    pub resource_mgmt: c_int,
    pub av_type: c_int,
    pub mr_mode: c_int,
}

/// The beginning of `struct fi_fabric_attr` of fabric.h.
#[repr(C)]
pub(super) struct FabricAttr {
    pub fabric: Object,
    pub name: *mut c_char,
    pub prov_name: *mut c_char,
}

/// The beginning of `struct fid_fabric` of fabric.h.
#[repr(C)]
pub(super) struct FidFabric {
    pub fid: Fid,
    pub ops: *const OpsFabric,
}

/// The beginning of `struct fi_ops_fabric` of fabric.h.
#[repr(C)]
pub(super) struct OpsFabric {
    pub size: usize,
    pub domain: unsafe extern "C" fn(*mut FidFabric, *mut FiInfo, *mut *mut FidDomain, *mut c_void) -> c_int,
}

/// `struct fid_domain` of fi_domain.h.
#[repr(C)]
pub(super) struct FidDomain {
    pub fid: Fid,
    pub ops: *const OpsDomain,
    pub mr: *const OpsMr,
}

/// The beginning of `struct fi_ops_domain` of fi_domain.h.
#[repr(C)]
pub(super) struct OpsDomain {
    pub size: usize,
    pub av_open: unsafe extern "C" fn(*mut FidDomain, *mut AvAttr, *mut *mut FidAv, *mut c_void) -> c_int,
    pub cq_open: unsafe extern "C" fn(*mut FidDomain, *mut CqAttr, *mut *mut FidCq, *mut c_void) -> c_int,
    pub endpoint: unsafe extern "C" fn(*mut FidDomain, *mut FiInfo, *mut *mut FidEp, *mut c_void) -> c_int,
}

/// The beginning of `struct fi_ops_mr` of fi_domain.h.
#[repr(C)]
pub(super) struct OpsMr {
    pub size: usize,
    #[allow(clippy::type_complexity, reason = "the header's signature")]
    pub reg:
        unsafe extern "C" fn(*mut Fid, *const c_void, usize, u64, u64, u64, u64, *mut *mut FidMr, *mut c_void) -> c_int,
    pub regv: *const c_void,
    pub regattr: unsafe extern "C" fn(*mut Fid, *const MrAttr, u64, *mut *mut FidMr) -> c_int,
}

/// `struct iovec` of sys/uio.h.
#[repr(C)]
pub(super) struct IoVec {
    pub iov_base: *const c_void,
    pub iov_len: usize,
}

/// `struct fi_mr_attr` of fi_domain.h, followed by zeros for fields that later versions add.
#[repr(C)]
pub(super) struct MrAttr {
    pub mr_iov: *const IoVec,
    pub iov_count: usize,
    pub access: u64,
    pub offset: u64,
    pub requested_key: u64,
    pub context: *mut c_void,
    pub auth_key_size: usize,
    pub auth_key: *mut u8,
    pub iface: c_int,
    /// The header's union of device numbers, with `device.cuda` in its first four bytes.
    pub device: u64,
    pub later: [u64; 8],
}

/// `struct fid_mr` of fi_domain.h.
#[repr(C)]
pub(super) struct FidMr {
    pub fid: Fid,
    pub mem_desc: *mut c_void,
    pub key: u64,
}

/// `struct fid_av` of fi_domain.h.
#[repr(C)]
pub(super) struct FidAv {
    pub fid: Fid,
    pub ops: *const OpsAv,
}

/// The beginning of `struct fi_ops_av` of fi_domain.h.
#[repr(C)]
pub(super) struct OpsAv {
    pub size: usize,
    pub insert: unsafe extern "C" fn(*mut FidAv, *const c_void, usize, *mut u64, u64, *mut c_void) -> c_int,
}

/// `struct fid_cq` of fi_eq.h.
#[repr(C)]
pub(super) struct FidCq {
    pub fid: Fid,
    pub ops: *const OpsCq,
}

/// The beginning of `struct fi_ops_cq` of fi_eq.h.
#[repr(C)]
pub(super) struct OpsCq {
    pub size: usize,
    pub read: unsafe extern "C" fn(*mut FidCq, *mut c_void, usize) -> isize,
    pub readfrom: *const c_void,
    pub readerr: unsafe extern "C" fn(*mut FidCq, *mut CqErrEntry, u64) -> isize,
}

/// The beginning of `struct fid_ep` of fi_endpoint.h.
#[repr(C)]
pub(super) struct FidEp {
    pub fid: Fid,
    pub ops: *const OpsEp,
    pub cm: *const OpsCm,
    pub msg: *const OpsMsg,
    pub rma: *const OpsRma,
}

/// The beginning of `struct fi_ops_ep` of fi_endpoint.h.
#[repr(C)]
pub(super) struct OpsEp {
    pub size: usize,
    pub cancel: *const c_void,
    pub getopt: *const c_void,
    pub setopt: unsafe extern "C" fn(*mut Fid, c_int, c_int, *const c_void, usize) -> c_int,
}

/// The beginning of `struct fi_ops_cm` of fi_cm.h.
#[repr(C)]
pub(super) struct OpsCm {
    pub size: usize,
    pub setname: *const c_void,
    pub getname: unsafe extern "C" fn(*mut Fid, *mut c_void, *mut usize) -> c_int,
}

/// The beginning of `struct fi_ops_msg` of fi_endpoint.h.
#[repr(C)]
pub(super) struct OpsMsg {
    pub size: usize,
    pub recv: unsafe extern "C" fn(*mut FidEp, *mut c_void, usize, *mut c_void, u64, *mut c_void) -> isize,
    pub recvv: *const c_void,
    pub recvmsg: *const c_void,
    pub send: unsafe extern "C" fn(*mut FidEp, *const c_void, usize, *mut c_void, u64, *mut c_void) -> isize,
}

/// The beginning of `struct fi_ops_rma` of fi_rma.h.
#[repr(C)]
pub(super) struct OpsRma {
    pub size: usize,
    pub read: unsafe extern "C" fn(*mut FidEp, *mut c_void, usize, *mut c_void, u64, u64, u64, *mut c_void) -> isize,
    pub readv: *const c_void,
    pub readmsg: *const c_void,
    pub write: unsafe extern "C" fn(*mut FidEp, *const c_void, usize, *mut c_void, u64, u64, u64, *mut c_void) -> isize,
}

/// `struct fi_av_attr` of fi_domain.h.
#[repr(C)]
pub(super) struct AvAttr {
    pub r#type: c_int,
    pub rx_ctx_bits: c_int,
    pub count: usize,
    pub ep_per_node: usize,
    pub name: *const c_char,
    pub map_addr: *mut c_void,
    pub flags: u64,
}

/// `struct fi_cq_attr` of fi_eq.h.
#[repr(C)]
pub(super) struct CqAttr {
    pub size: usize,
    pub flags: u64,
    pub format: c_int,
    pub wait_obj: c_int,
    pub signaling_vector: c_int,
    pub wait_cond: c_int,
    pub wait_set: Object,
}

/// `struct fi_cq_msg_entry` of fi_eq.h.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CqMsgEntry {
    pub op_context: *mut c_void,
    pub flags: u64,
    pub len: usize,
}

/// `struct fi_cq_err_entry` of fi_eq.h, followed by room for fields that later versions add.
#[repr(C)]
pub(super) struct CqErrEntry {
    pub op_context: *mut c_void,
    pub flags: u64,
    pub len: usize,
    pub buf: *mut c_void,
    pub data: u64,
    pub tag: u64,
    pub olen: usize,
    pub err: c_int,
    pub prov_errno: c_int,
    pub err_data: *mut c_void,
    pub err_data_size: usize,
    pub later: [u64; 8],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::engine::layout::{Header, constants, structures};

    #[test]
    fn declarations_agree_with_the_headers() {
        let mut facts = constants! {
            FI_MSG, FI_RMA, FI_READ, FI_WRITE, FI_RECV, FI_TRANSMIT, FI_REMOTE_READ, FI_REMOTE_WRITE,
            FI_DELIVERY_COMPLETE, FI_LOCAL_COMM, FI_REMOTE_COMM, FI_PROV_ATTR_ONLY, FI_CONTEXT2, FI_CONTEXT, FI_ORDER_SAW, FI_MR_LOCAL,
            FI_HMEM, FI_MR_HMEM, FI_HMEM_CUDA, FI_MR_VIRT_ADDR, FI_MR_ALLOCATED, FI_MR_PROV_KEY, FI_MR_ENDPOINT,
            FI_EP_RDM, FI_PROGRESS_MANUAL, FI_ENABLE, FI_OPT_ENDPOINT, FI_CQ_FORMAT_MSG, FI_EAGAIN, FI_EINVAL, FI_ENODATA,
            FI_EAVAIL
        };
        facts.extend(structures! {
            whole Fid = "struct fid" { fclass, context, ops }
            part FiOps = "struct fi_ops" { size, close, bind, control }
            part FiInfo = "struct fi_info" { next, caps, mode, addr_format, src_addrlen, dest_addrlen, src_addr, dest_addr,
                handle, tx_attr, rx_attr, ep_attr, domain_attr, fabric_attr }
            part TxAttr = "struct fi_tx_attr" { caps, mode, op_flags, msg_order }
            part RxAttr = "struct fi_rx_attr" { caps, mode, op_flags, msg_order }
            part EpAttr = "struct fi_ep_attr" { protocol, protocol_version, max_msg_size }
            part DomainAttr = "struct fi_domain_attr" { domain, name, threading, control_progress, data_progress,
                resource_mgmt, av_type, mr_mode }
            part FabricAttr = "struct fi_fabric_attr" { fabric, name, prov_name }
            part FidFabric = "struct fid_fabric" { fid, ops }
            part OpsFabric = "struct fi_ops_fabric" { size, domain }
            part FidDomain = "struct fid_domain" { fid, ops, mr }
            part OpsDomain = "struct fi_ops_domain" { size, av_open, cq_open, endpoint }
            part OpsMr = "struct fi_ops_mr" { size, reg, regv, regattr }
            whole IoVec = "struct iovec" { iov_base, iov_len }
            part MrAttr = "struct fi_mr_attr" { mr_iov, iov_count, access, offset, requested_key, context, auth_key_size,
                auth_key, iface, device }
            part FidMr = "struct fid_mr" { fid, mem_desc, key }
            part FidAv = "struct fid_av" { fid, ops }
            part OpsAv = "struct fi_ops_av" { size, insert }
            part FidCq = "struct fid_cq" { fid, ops }
            part OpsCq = "struct fi_ops_cq" { size, read, readfrom, readerr }
            part FidEp = "struct fid_ep" { fid, ops, cm, msg, rma }
            part OpsEp = "struct fi_ops_ep" { size, cancel, getopt, setopt }
            part OpsCm = "struct fi_ops_cm" { size, setname, getname }
            part OpsMsg = "struct fi_ops_msg" { size, recv, recvv, recvmsg, send }
            part OpsRma = "struct fi_ops_rma" { size, read, readv, readmsg, write }
            whole AvAttr = "struct fi_av_attr" { rx_ctx_bits, count, ep_per_node, name, map_addr, flags }
            whole CqAttr = "struct fi_cq_attr" { size, flags, format, wait_obj, signaling_vector, wait_cond, wait_set }
            whole CqMsgEntry = "struct fi_cq_msg_entry" { op_context, flags, len }
            part CqErrEntry = "struct fi_cq_err_entry" { op_context, flags, len, buf, data, tag, olen, err, prov_errno,
                err_data, err_data_size }
        });
        facts.push(("FI_VERSION(1, 18)".into(), version(1, 18).into()));
        facts.push((format!("sizeof(struct fi_cq_err_entry) <= {}", size_of::<CqErrEntry>()), 1));
        facts.push((format!("sizeof(struct fi_mr_attr) <= {}", size_of::<MrAttr>()), 1));
        facts.push((format!("sizeof(struct fi_context2) == {CONTEXT}"), 1));
        Header { include: "rdma/fabric.h", package: "libfabric-dev" }.agrees(&facts);
    }
}
