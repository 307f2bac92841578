//! Answers each number with the sum of those up to it, until its channel closes.

fn main() {
    while let Ok(message) = host::ipc::receive_message() {
        let most: u64 = message.json().unwrap_or_default();
        let sum = (0..=most).fold(0_u64, |sum, n| std::hint::black_box(sum.wrapping_add(n)));
        if let Err(error) = message.reply(&sum) {
            eprintln!("{error}");
        }
    }
}
