//! Writes WebAssembly binaries of unreasonable shapes, section by section.

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const BLOCK: [u8; 2] = [0x02, 0x40];
const END: u8 = 0x0b;

/// A component that holds one core module, and does nothing with it.
pub fn component(module: &[u8]) -> Vec<u8> {
    [COMPONENT, &section(1, module)].concat()
}

/// A component in a component in a component.
pub fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(COMPONENT.to_vec(), |inner, _| [COMPONENT, &section(4, &inner)].concat())
}

/// A module of `count` functions with this body, less its final `end`.
pub fn functions(count: u32, body: &[u8]) -> Vec<u8> {
    let types = section(1, &[1, 0x60, 0, 0]);
    let mut declared = unsigned(count);
    declared.resize(declared.len() + count as usize, 0);
    let mut one = vec![0];
    one.extend_from_slice(body);
    one.push(END);
    let mut code = unsigned(count);
    let sized = [unsigned(one.len() as u32), one].concat();
    (0..count).for_each(|_| code.extend_from_slice(&sized));
    [MODULE, &types, &section(3, &declared), &section(10, &code)].concat()
}

/// Blocks inside blocks.
pub fn blocks(depth: usize) -> Vec<u8> {
    let mut body = BLOCK.repeat(depth);
    body.resize(body.len() + depth, END);
    body
}

/// A memory of 4 GiB with data at both ends, `length` bytes each.
pub fn data(length: usize) -> Vec<u8> {
    let memory = section(5, &[&[1, 0][..], &unsigned(65_536)].concat());
    let mut segments = unsigned(2);
    for at in [0u32, u32::MAX - length as u32] {
        segments.extend([0, 0x41]);
        segments.extend(signed(at as i32));
        segments.push(END);
        segments.extend(unsigned(length as u32));
        segments.resize(segments.len() + length, b'x');
    }
    [MODULE, &memory, &section(11, &segments)].concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &unsigned(content.len() as u32), content].concat()
}

fn unsigned(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn signed(mut number: i32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = number as u8 & 0x7f;
        number >>= 7;
        let done = (number == 0 && byte & 0x40 == 0) || (number == -1 && byte & 0x40 != 0);
        bytes.push(if done { byte } else { byte | 0x80 });
        if done {
            return bytes;
        }
    }
}
