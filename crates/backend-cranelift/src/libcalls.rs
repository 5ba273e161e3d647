//! The routines that Cranelift's code may call without its front end having asked for them.
//!
//! Cranelift turns some instructions into calls where the CPU has no instruction for them (rounding
//! without SSE4.1, fused multiplication without FMA) and copies memory by `memcpy` and its kin. They
//! are offered here as Rust has them, so nothing depends on which libraries the process was linked
//! with.

use std::ffi::{c_int, c_void};

unsafe extern "C" {
    // Rust's own `core` needs these four of every program.
    fn memcpy(to: *mut c_void, from: *const c_void, size: usize) -> *mut c_void;
    fn memmove(to: *mut c_void, from: *const c_void, size: usize) -> *mut c_void;
    fn memset(to: *mut c_void, byte: c_int, size: usize) -> *mut c_void;
    fn memcmp(a: *const c_void, b: *const c_void, size: usize) -> c_int;
}

/// The address of the routine `name` that code of this backend may import by itself, such as `memcpy`
/// or `floor`: a host's symbols offer these beside its own.
pub fn libcall(name: &str) -> Option<u64> {
    let address = match name {
        "ceilf" => ceilf as extern "C" fn(f32) -> f32 as usize,
        "ceil" => ceil as extern "C" fn(f64) -> f64 as usize,
        "floorf" => floorf as extern "C" fn(f32) -> f32 as usize,
        "floor" => floor as extern "C" fn(f64) -> f64 as usize,
        "truncf" => truncf as extern "C" fn(f32) -> f32 as usize,
        "trunc" => trunc as extern "C" fn(f64) -> f64 as usize,
        "nearbyintf" => nearbyintf as extern "C" fn(f32) -> f32 as usize,
        "nearbyint" => nearbyint as extern "C" fn(f64) -> f64 as usize,
        "fmaf" => fmaf as extern "C" fn(f32, f32, f32) -> f32 as usize,
        "fma" => fma as extern "C" fn(f64, f64, f64) -> f64 as usize,
        "memcpy" => memcpy as *const () as usize,
        "memmove" => memmove as *const () as usize,
        "memset" => memset as *const () as usize,
        "memcmp" => memcmp as *const () as usize,
        _ => return None,
    };
    Some(address as u64)
}

extern "C" fn ceilf(x: f32) -> f32 {
    x.ceil()
}

extern "C" fn ceil(x: f64) -> f64 {
    x.ceil()
}

extern "C" fn floorf(x: f32) -> f32 {
    x.floor()
}

extern "C" fn floor(x: f64) -> f64 {
    x.floor()
}

extern "C" fn truncf(x: f32) -> f32 {
    x.trunc()
}

extern "C" fn trunc(x: f64) -> f64 {
    x.trunc()
}

/// Cranelift's `nearest` rounds ties to even, as `nearbyint` does in the default rounding mode.
extern "C" fn nearbyintf(x: f32) -> f32 {
    x.round_ties_even()
}

extern "C" fn nearbyint(x: f64) -> f64 {
    x.round_ties_even()
}

extern "C" fn fmaf(x: f32, y: f32, z: f32) -> f32 {
    x.mul_add(y, z)
}

extern "C" fn fma(x: f64, y: f64, z: f64) -> f64 {
    x.mul_add(y, z)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cranelift_codegen::ir::LibCall;
    use cranelift_module::default_libcall_names;

    #[test]
    fn every_routine_but_the_reserved_ones_is_offered() {
        let name_of = default_libcall_names();
        let missing: Vec<_> = LibCall::all_libcalls()
            .iter()
            .map(|routine| name_of(*routine))
            .filter(|name| libcall(name).is_none())
            .collect();
        // Stack probes are inline, thread-locals are refused, and the last is the stand-in for an
        // instruction of SSSE3 in code for vectors.
        let left_out = [
            "__cranelift_probestack",
            "__tls_get_addr",
            "__tls_get_offset",
            "__cranelift_x86_pshufb",
        ];
        assert_eq!(missing, left_out);
    }
}
