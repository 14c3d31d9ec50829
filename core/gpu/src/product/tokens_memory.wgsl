// Each invocation reads the tokens of its workgroup from the device's memory: the same places as its neighbours, at the same time.

struct Invocation {
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
}

fn take_tokens(invocation: Invocation, first_token: u32, start: u32) {}

// Four terms of the t-th token from `start` on.
fn terms_of_token(invocation: Invocation, first_token: u32, t: u32, start: u32) -> vec4<f32> {
    let token = first_token + t;
    var values = vec4<f32>(0.0);
    if (token < p.n_tokens) {
        let at = p.x_first + token * p.x_stride + start;
        for (var i = 0u; i < 4u; i++) {
            if (start + i < p.end_term) {
                values[i] = x[at + i];
            }
        }
    }
    return values;
}
