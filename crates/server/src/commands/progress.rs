//! A bar that shows progress, on a terminal only.

use noex_sqlite::Progress;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const WIDTH: u64 = 40;
const REDRAW: Duration = Duration::from_millis(100);

/// The bar, in the last line of standard error.
#[derive(Debug)]
pub(super) struct Bar {
    /// When it was drawn; `None` = nowhere to draw, or not yet.
    drawn: Option<Instant>,
    visible: bool,
}

#[expect(clippy::disallowed_methods, reason = "redrawn at the pace of a human eye")]
impl Bar {
    pub(super) fn new() -> Self {
        Self { drawn: None, visible: io::stderr().is_terminal() }
    }

    pub(super) fn show(&mut self, progress: Progress) {
        if !self.visible || self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
            return;
        }
        self.drawn = Some(Instant::now());
        // A terminal that is gone is no reason to stop.
        let _ = write!(io::stderr().lock(), "\r{}", line(progress));
    }
}

impl Drop for Bar {
    /// Leaves the line empty for what is written next.
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(io::stderr().lock(), "\r{:1$}\r", "", WIDTH as usize + 8);
        }
    }
}

fn line(Progress { done, total }: Progress) -> String {
    let share = |of: u64| {
        let part = u128::from(done.min(total)) * u128::from(of) / u128::from(total.max(1));
        usize::try_from(part).unwrap_or_default()
    };
    let full = "=".repeat(share(WIDTH));
    format!("[{full:<width$}] {:>3} %", share(100), width = WIDTH as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_fills_up() {
        let shown = |done, total| line(Progress { done, total });
        assert_eq!(shown(0, 0), format!("[{}]   0 %", " ".repeat(40)));
        assert_eq!(shown(1, 2), format!("[{}{}]  50 %", "=".repeat(20), " ".repeat(20)));
        assert_eq!(shown(9, 3), format!("[{}] 100 %", "=".repeat(40)));
    }
}
