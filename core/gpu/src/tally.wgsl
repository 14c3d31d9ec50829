// Counts a submission that has run to its end. Its number was written before it, with all else that was: if that did not come, the
// count stays behind for good.

@group(0) @binding(0) var<storage, read_write> count: u32;
@group(0) @binding(1) var<storage, read_write> number: u32;

@compute @workgroup_size(1)
fn main() {
    if number == count + 1u {
        count = number;
    }
}
