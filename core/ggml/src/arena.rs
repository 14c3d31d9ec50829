//! Where intermediate results live: one arena for a whole graph, whose memory is reused as soon as a value is dead.

use std::collections::HashMap;

use llama_cpp_sys_2 as sys;

use crate::raw::BackendBuffer;

/// Enough for any vector load, and a cache line.
const ALIGNMENT: usize = 64;

/// Where a graph's intermediate results lie inside an arena.
///
/// Memory is given in execution order, best fit first; a value's memory is free after the last operation that reads it,
/// directly or through a view. A sum is written over its first operand, if that one dies there.
pub(crate) struct ArenaPlan {
    /// Size of the arena.
    pub(crate) bytes: usize,
    owned: Vec<(*mut sys::ggml_tensor, usize)>,
    views: Vec<*mut sys::ggml_tensor>,
    /// The arena that the tensors point into now.
    bound_to: Option<u64>,
}

impl ArenaPlan {
    /// # Safety
    /// The graph and its tensors are alive, and stay so for as long as the plan.
    pub(crate) unsafe fn new(graph: *mut sys::ggml_cgraph) -> Self {
        // SAFETY: indices are below the count; the caller vouches for the rest.
        let nodes: Vec<_> =
            unsafe { (0..sys::ggml_graph_n_nodes(graph)).map(|i| sys::ggml_graph_node(graph, i)).collect() };
        // SAFETY: every tensor reachable from a node is alive.
        let last_use = unsafe { last_uses(&nodes) };
        let mut free_list = FreeList::default();
        let mut allocated = HashMap::new();
        let mut owned = Vec::new();
        let mut views = Vec::new();
        for (i, &node) in nodes.iter().enumerate() {
            // SAFETY: as above.
            unsafe {
                if !(*node).view_src.is_null() {
                    views.push(node);
                } else {
                    let size = sys::ggml_nbytes(node).next_multiple_of(ALIGNMENT);
                    let reused =
                        reusable_operand(node, i, &last_use).and_then(|operand| allocated.remove(&operand));
                    let offset = reused.map_or_else(|| free_list.alloc(size), |(offset, _)| offset);
                    allocated.insert(node, (offset, size));
                    owned.push((node, offset));
                }
                // Whatever is read here for the last time, and results that nobody reads, give their memory back.
                for operand in (*node).src.into_iter().chain([node]).filter(|t| !t.is_null()) {
                    let root = root(operand);
                    if last_use.get(&root) == Some(&i)
                        && let Some((offset, size)) = allocated.remove(&root)
                    {
                        free_list.free(offset, size);
                    }
                }
            }
        }
        Self { bytes: free_list.high_water, owned, views, bound_to: None }
    }

    /// The tensors that own memory of the arena, and the bytes in front of it.
    pub(crate) fn places(&self) -> impl Iterator<Item = (*mut sys::ggml_tensor, usize)> {
        self.owned.iter().copied()
    }

    /// Points every tensor into the arena, unless it does already.
    ///
    /// # Safety
    /// What [`ArenaPlan::new`] asks holds; `arena` has at least `self.bytes` bytes, and `arena_id` is unique to it.
    pub(crate) unsafe fn bind(&mut self, arena: &BackendBuffer, arena_id: u64) {
        if self.bound_to == Some(arena_id) {
            return;
        }
        for &(tensor, offset) in &self.owned {
            // SAFETY: the value lies inside the arena.
            unsafe {
                (*tensor).data = arena.base().add(offset).cast();
                (*tensor).buffer = arena.as_ptr();
            }
        }
        for &view in &self.views {
            // SAFETY: a view's source is a buffer, which has its data, or one of the tensors bound above.
            unsafe {
                let source = (*view).view_src;
                (*view).data = (*source).data.cast::<u8>().add((*view).view_offs).cast();
                (*view).buffer = (*source).buffer;
            }
        }
        self.bound_to = Some(arena_id);
    }
}

/// The tensor that owns the memory of `tensor`.
unsafe fn root(tensor: *mut sys::ggml_tensor) -> *mut sys::ggml_tensor {
    // SAFETY: ggml flattens views: the source of a view is never a view.
    unsafe { if (*tensor).view_src.is_null() { tensor } else { (*tensor).view_src } }
}

/// For each owner of memory, the index of the last node that touches it.
unsafe fn last_uses(nodes: &[*mut sys::ggml_tensor]) -> HashMap<*mut sys::ggml_tensor, usize> {
    let mut last = HashMap::new();
    for (i, &node) in nodes.iter().enumerate() {
        // SAFETY: every tensor reachable from a node is alive.
        unsafe {
            last.insert(root(node), i);
            for &operand in (*node).src.iter().filter(|t| !t.is_null()) {
                last.insert(root(operand), i);
            }
        }
    }
    last
}

/// The first operand of a sum, which is the one element-wise operation of ggml's own, if it is of the same size, owns its
/// memory and dies there.
unsafe fn reusable_operand(
    node: *mut sys::ggml_tensor,
    i: usize,
    last_use: &HashMap<*mut sys::ggml_tensor, usize>,
) -> Option<*mut sys::ggml_tensor> {
    // SAFETY: node and operands are alive.
    unsafe {
        let operand = (*node).src[0];
        let reusable = (*node).op == sys::GGML_OP_ADD
            && (*operand).view_src.is_null()
            && (*operand).op != sys::GGML_OP_NONE
            && sys::ggml_nbytes(operand) == sys::ggml_nbytes(node)
            && last_use.get(&operand) == Some(&i);
        reusable.then_some(operand)
    }
}

/// The free ranges of the arena, as offsets and sizes.
#[derive(Default)]
struct FreeList {
    ranges: Vec<(usize, usize)>,
    end: usize,
    high_water: usize,
}

impl FreeList {
    /// Takes from the smallest range that is large enough, else grows the end.
    fn alloc(&mut self, size: usize) -> usize {
        let best =
            (0..self.ranges.len()).filter(|&i| self.ranges[i].1 >= size).min_by_key(|&i| self.ranges[i].1);
        let Some(i) = best else {
            let offset = self.end;
            self.end += size;
            self.high_water = self.high_water.max(self.end);
            return offset;
        };
        let (offset, available) = self.ranges[i];
        if available == size {
            self.ranges.swap_remove(i);
        } else {
            self.ranges[i] = (offset + size, available - size);
        }
        offset
    }

    /// Gives a range back, merged with its neighbours and with the untouched end.
    fn free(&mut self, mut offset: usize, mut size: usize) {
        if let Some(i) = self.ranges.iter().position(|&(start, len)| start + len == offset) {
            let (start, len) = self.ranges.swap_remove(i);
            (offset, size) = (start, len + size);
        }
        if let Some(i) = self.ranges.iter().position(|&(start, _)| start == offset + size) {
            size += self.ranges.swap_remove(i).1;
        }
        if offset + size == self.end {
            self.end = offset;
        } else {
            self.ranges.push((offset, size));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FreeList;

    #[test]
    fn freed_ranges_merge_and_the_end_moves_back() {
        let mut free_list = FreeList::default();
        let offsets: Vec<_> = [64, 128, 64, 256].map(|size| (free_list.alloc(size), size)).into();
        assert_eq!(offsets, [(0, 64), (64, 128), (192, 64), (256, 256)]);
        free_list.free(64, 128);
        free_list.free(192, 64);
        assert_eq!(free_list.alloc(192), 64, "two neighbours serve as one");
        free_list.free(64, 192);
        free_list.free(256, 256);
        free_list.free(0, 64);
        assert_eq!((free_list.end, free_list.high_water), (0, 512));
    }
}
