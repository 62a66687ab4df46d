//! The structures and constants of UCX's `ucp.h` (UCX 1.13) that are used here, and no others.
//!
//! Every structure that a caller fills begins with a mask of its valid fields, so that older and newer libraries read the
//! same bytes.
#![forbid(unsafe_code)]

use std::ffi::{c_char, c_int, c_uint, c_void};

/// `ucs_status_t` of status.h: a packed enumeration, so one byte.
pub(super) type Status = i8;
/// `UCS_INPROGRESS` of status.h.
pub(super) const UCS_INPROGRESS: Status = 1;
/// `UCS_ERR_LAST` of status.h: a pointer that is at least this value, as an unsigned number, is an error.
pub(super) const UCS_ERR_LAST: Status = -100;

/// Major version of the interface, for `ucp_init_version`.
pub(super) const UCP_API_MAJOR: c_uint = 1;
/// Minor version: 1.11 has everything that is used here, and is four years older than NIXL.
pub(super) const UCP_API_MINOR: c_uint = 11;

/// `UCP_PARAM_FIELD_FEATURES` of ucp.h.
pub(super) const UCP_PARAM_FIELD_FEATURES: u64 = 1 << 0;
/// `UCP_FEATURE_TAG` of ucp.h.
pub(super) const UCP_FEATURE_TAG: u64 = 1 << 0;
/// `UCP_FEATURE_RMA` of ucp.h.
pub(super) const UCP_FEATURE_RMA: u64 = 1 << 1;
/// `UCP_WORKER_PARAM_FIELD_THREAD_MODE` of ucp.h.
pub(super) const UCP_WORKER_PARAM_FIELD_THREAD_MODE: u64 = 1 << 0;
/// `UCS_THREAD_MODE_SINGLE` of thread_mode.h.
pub(super) const UCS_THREAD_MODE_SINGLE: c_int = 0;
/// `UCP_EP_PARAM_FIELD_REMOTE_ADDRESS` of ucp.h.
pub(super) const UCP_EP_PARAM_FIELD_REMOTE_ADDRESS: u64 = 1 << 0;
/// `UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE` of ucp.h.
pub(super) const UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE: u64 = 1 << 1;
/// `UCP_EP_PARAM_FIELD_ERR_HANDLER` of ucp.h.
pub(super) const UCP_EP_PARAM_FIELD_ERR_HANDLER: u64 = 1 << 2;
/// `UCP_ERR_HANDLING_MODE_PEER` of ucp_def.h.
pub(super) const UCP_ERR_HANDLING_MODE_PEER: c_int = 1;
/// `UCP_MEM_MAP_PARAM_FIELD_ADDRESS` of ucp.h.
pub(super) const UCP_MEM_MAP_PARAM_FIELD_ADDRESS: u64 = 1 << 0;
/// `UCP_MEM_MAP_PARAM_FIELD_LENGTH` of ucp.h.
pub(super) const UCP_MEM_MAP_PARAM_FIELD_LENGTH: u64 = 1 << 1;
/// `UCP_MEM_ATTR_FIELD_MEM_TYPE` of ucp.h.
pub(super) const UCP_MEM_ATTR_FIELD_MEM_TYPE: u64 = 1 << 2;
/// `UCS_MEMORY_TYPE_CUDA` of memory_type.h.
pub(super) const UCS_MEMORY_TYPE_CUDA: c_int = 1;

/// `UCP_OP_ATTR_FIELD_MEMH` of ucp.h.
pub(super) const UCP_OP_ATTR_FIELD_MEMH: u32 = 1 << 8;
/// `UCP_OP_ATTR_FLAG_MULTI_SEND` of ucp.h.
pub(super) const UCP_OP_ATTR_FLAG_MULTI_SEND: u32 = 1 << 19;

/// `ucp_params_t` of ucp.h.
#[repr(C)]
pub(super) struct Params {
    pub field_mask: u64,
    pub features: u64,
    pub request_size: usize,
    pub request_init: *const c_void,
    pub request_cleanup: *const c_void,
    pub tag_sender_mask: u64,
    pub mt_workers_shared: c_int,
    pub estimated_num_eps: usize,
    pub estimated_num_ppn: usize,
    pub name: *const c_char,
}

/// `ucp_worker_params_t` of ucp.h.
#[repr(C)]
pub(super) struct WorkerParams {
    pub field_mask: u64,
    pub thread_mode: c_int,
    pub cpu_mask: [u64; 16],
    pub events: c_uint,
    pub user_data: *mut c_void,
    pub event_fd: c_int,
    pub flags: u64,
    pub name: *const c_char,
    pub am_alignment: usize,
    pub client_id: u64,
}

/// `ucp_err_handler_t` of ucp_def.h.
#[repr(C)]
pub(super) struct ErrHandler {
    pub cb: Option<extern "C" fn(*mut c_void, *mut c_void, Status)>,
    pub arg: *mut c_void,
}

/// `ucs_sock_addr_t` of sock.h.
#[repr(C)]
pub(super) struct SockAddr {
    pub addr: *const c_void,
    pub addrlen: u32,
}

/// `ucp_ep_params_t` of ucp.h.
#[repr(C)]
pub(super) struct EpParams {
    pub field_mask: u64,
    pub address: *const c_void,
    pub err_mode: c_int,
    pub err_handler: ErrHandler,
    pub user_data: *mut c_void,
    pub flags: c_uint,
    pub sockaddr: SockAddr,
    pub conn_request: *mut c_void,
    pub name: *const c_char,
    pub local_sockaddr: SockAddr,
}

/// `ucp_mem_map_params_t` of ucp.h.
#[repr(C)]
pub(super) struct MemMapParams {
    pub field_mask: u64,
    pub address: *mut c_void,
    pub length: usize,
    pub flags: c_uint,
    pub prot: c_uint,
    pub memory_type: c_int,
}

/// `ucp_mem_attr_t` of ucp.h.
#[repr(C)]
pub(super) struct MemAttr {
    pub field_mask: u64,
    pub address: *mut c_void,
    pub length: usize,
    pub mem_type: c_int,
}

/// `ucp_request_param_t` of ucp.h; UCX reads only the fields in the mask.
#[repr(C)]
pub(super) struct RequestParam {
    pub op_attr_mask: u32,
    pub flags: u32,
    pub request: *mut c_void,
    pub cb: *const c_void,
    pub datatype: u64,
    pub user_data: *mut c_void,
    pub reply_buffer: *mut c_void,
    pub memory_type: c_int,
    pub recv_info: *mut c_void,
    pub memh: *mut c_void,
}

/// `ucp_tag_recv_info_t` of ucp.h.
#[repr(C)]
pub(super) struct TagRecvInfo {
    pub sender_tag: u64,
    pub length: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::engine::layout::{Header, constants, structures};

    #[test]
    fn declarations_agree_with_the_header() {
        let mut facts = constants! {
            UCS_INPROGRESS, UCS_ERR_LAST, UCP_API_MAJOR, UCP_PARAM_FIELD_FEATURES, UCP_FEATURE_TAG,
            UCP_FEATURE_RMA, UCP_WORKER_PARAM_FIELD_THREAD_MODE, UCS_THREAD_MODE_SINGLE,
            UCP_EP_PARAM_FIELD_REMOTE_ADDRESS, UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE, UCP_EP_PARAM_FIELD_ERR_HANDLER,
            UCP_ERR_HANDLING_MODE_PEER, UCP_MEM_MAP_PARAM_FIELD_ADDRESS, UCP_MEM_MAP_PARAM_FIELD_LENGTH,
            UCP_MEM_ATTR_FIELD_MEM_TYPE, UCS_MEMORY_TYPE_CUDA,
            UCP_OP_ATTR_FIELD_MEMH, UCP_OP_ATTR_FLAG_MULTI_SEND
        };
        facts.extend(structures! {
            whole Params = "ucp_params_t" { field_mask, features, request_size, request_init, request_cleanup,
                tag_sender_mask, mt_workers_shared, estimated_num_eps, estimated_num_ppn, name }
            whole WorkerParams = "ucp_worker_params_t" { field_mask, thread_mode, cpu_mask, events, user_data, event_fd,
                flags, name, am_alignment, client_id }
            whole ErrHandler = "ucp_err_handler_t" { cb, arg }
            whole SockAddr = "ucs_sock_addr_t" { addr, addrlen }
            whole EpParams = "ucp_ep_params_t" { field_mask, address, err_mode, err_handler, user_data, flags, sockaddr,
                conn_request, name, local_sockaddr }
            whole MemMapParams = "ucp_mem_map_params_t" { field_mask, address, length, flags, prot, memory_type }
            whole MemAttr = "ucp_mem_attr_t" { field_mask, address, length, mem_type }
            whole RequestParam = "ucp_request_param_t" { op_attr_mask, flags, request, cb, datatype, user_data,
                reply_buffer, memory_type, recv_info, memh }
            whole TagRecvInfo = "ucp_tag_recv_info_t" { sender_tag, length }
        });
        facts.push(("sizeof(ucs_status_t)".into(), size_of::<Status>() as i128));
        facts.push((format!("UCP_API_MINOR >= {UCP_API_MINOR}"), 1));
        Header { include: "ucp/api/ucp.h", package: "libucx-dev" }.agrees(&facts);
    }
}
