//! What the released scanner leaves out: unwinding, backtraces, and the search for the main thread's stack.
//!
//! Its profile aborts on a panic and strips every symbol, so a backtrace would name nothing. Yet the standard library
//! and glibc would link 350 KB for it: the unwinder, a reader of debug information, and `scanf`, which looks for the
//! stack in `/proc/self/maps`. These definitions stand in for theirs, in such a build alone. The message of a panic
//! and its place in the source are printed as ever. If something came to need the unwinder after all, the link would
//! fail: its symbols would be there twice.

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK`.
const END_OF_STACK: c_int = 5;

/// Walks over the frames of the stack, for a backtrace: there are none.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_each: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// Tells the bounds of a thread's stack: not known. Then the standard library does not tell an overflow of the stack
/// from another bad access; the guard page ends the process all the same.
#[unsafe(no_mangle)]
extern "C" fn pthread_getattr_np(_thread: usize, _attributes: *mut c_void) -> c_int {
    super::errno::ENOSYS
}

/// What the frames of the libraries name for an unwinder, which never comes.
macro_rules! never_called {
    ($($name:ident)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name() -> ! {
            std::process::abort()
        })*
    };
}

never_called! {
    _Unwind_Resume _Unwind_ForcedUnwind _Unwind_GetCFA _Unwind_GetDataRelBase _Unwind_GetIP _Unwind_GetIPInfo
    _Unwind_GetLanguageSpecificData _Unwind_GetRegionStart _Unwind_GetTextRelBase _Unwind_SetGR _Unwind_SetIP
    __gcc_personality_v0
}
