//! Hands libFuzzer's input to [`noex_fuzz::rules_input`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| noex_fuzz::rules_input(data));

#[cfg(not(fuzzing))]
fn main() {}
