//! The allocator of every process: mimalloc, asked for an alignment only where its blocks would not
//! have it anyway. That is the rare case, and asking costs as much again as the allocation.

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys as mi;

pub struct MiMalloc;

/// Blocks are multiples of a word, and from two words on of two.
fn aligned_anyway(layout: Layout) -> bool {
    layout.align() <= 8 || (layout.align() <= 16 && layout.size() >= 16)
}

// SAFETY: each function forwards to the allocator of that contract; every pointer it gives out may
// be resized and freed by the ones used here, however it was asked for.
unsafe impl GlobalAlloc for MiMalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match aligned_anyway(layout) {
            // SAFETY: the caller keeps the contract of this function.
            true => unsafe { mi::mi_malloc(layout.size()).cast() },
            // SAFETY: the caller keeps the contract of this function.
            false => unsafe { mi::mi_malloc_aligned(layout.size(), layout.align()).cast() },
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match aligned_anyway(layout) {
            // SAFETY: the caller keeps the contract of this function.
            true => unsafe { mi::mi_zalloc(layout.size()).cast() },
            // SAFETY: the caller keeps the contract of this function.
            false => unsafe { mi::mi_zalloc_aligned(layout.size(), layout.align()).cast() },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the block came from one of the functions above.
        unsafe { mi::mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let resized = Layout::from_size_align(size, layout.align());
        match resized.is_ok_and(aligned_anyway) {
            // SAFETY: the caller keeps the contract of this function.
            true => unsafe { mi::mi_realloc(block.cast(), size).cast() },
            // SAFETY: the caller keeps the contract of this function.
            false => unsafe { mi::mi_realloc_aligned(block.cast(), size, layout.align()).cast() },
        }
    }
}
