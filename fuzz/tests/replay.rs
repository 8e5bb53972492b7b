//! The committed corpus and pseudo-random inputs through every target, without a fuzzer.

use noex_fuzz::{TARGETS, Target};
use std::{fs, panic, path::PathBuf};

/// Pseudo-random inputs per target.
const INPUTS: usize = 2_000;

/// Longest of them, in bytes.
const LEN_MAX: usize = 256;

fn target(name: &str) -> Target {
    TARGETS.iter().find(|(other, _)| *other == name).unwrap_or_else(|| panic!("no target {name}")).1
}

/// The corpus of a target, in the order of the files' names.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), fs::read(file).expect("readable"))).collect()
}

/// Runs one input; says which one it was if it fails.
fn run(target: Target, what: &str, data: &[u8]) {
    if let Err(payload) = panic::catch_unwind(|| target(data)) {
        eprintln!("failed with {what}: {}", data.escape_ascii());
        panic::resume_unwind(payload);
    }
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end.max(1)
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(LEN_MAX)).map(|_| self.below(256) as u8).collect()
    }

    /// A file of the corpus with a few changes.
    fn changed(&mut self, corpus: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
        let Some((_, data)) = corpus.get(self.below(corpus.len())) else { return self.bytes() };
        let mut data: Vec<u8> = data.iter().copied().take(4 * LEN_MAX).collect();
        for _ in 0..=self.below(4) {
            let at = self.below(data.len());
            let end = (at + self.below(16)).min(data.len());
            match self.below(4) {
                0 if at < data.len() => data[at] = self.below(256) as u8,
                1 => drop(data.drain(at..end)),
                2 => data.insert(at, self.below(256) as u8),
                _ => {
                    let piece = data[at..end].to_vec();
                    let to = self.below(data.len());
                    data.splice(to..to, piece);
                }
            }
        }
        data
    }
}

fn smoke(name: &str) {
    let (target, corpus, mut random) = (target(name), corpus(name), Random(0x9E37_79B9_7F4A_7C15));
    for at in 0..INPUTS {
        let data = if at % 2 == 0 { random.bytes() } else { random.changed(&corpus) };
        run(target, "a pseudo-random input", &data);
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        /// Every file of the corpus does what it should.
        mod corpus_of {
            $(#[test] fn $name() {
                let target = super::target(stringify!($name));
                for (file, data) in super::corpus(stringify!($name)) {
                    super::run(target, &file.display().to_string(), &data);
                }
            })*
        }

        /// So do pseudo-random inputs, the same every time.
        mod random_inputs_of {
            $(#[test] fn $name() { super::smoke(stringify!($name)); })*
        }

        #[test]
        fn no_target_is_left_out() {
            let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

targets! {
    conn_bytes conn_calls conn_model store_ops config_file rules_input procedures filter_query identity_calls json
}
