//! Hands libFuzzer's input to [`noex_fuzz::identity_calls`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| noex_fuzz::identity_calls(data));

#[cfg(not(fuzzing))]
fn main() {}
