//! An answer of the API, cut into its lines.

use reqwest::Response;

/// What is left of an answer.
pub(super) struct Lines {
    answer: Response,
    buffer: Vec<u8>,
    is_over: bool,
}

impl Lines {
    pub(super) fn of(answer: Response) -> Self {
        Self {
            answer,
            buffer: Vec::new(),
            is_over: false,
        }
    }

    /// All lines that are there by now, with their ends, at least one; `None` at the end.
    ///
    /// # Errors
    /// If the answer is cut off.
    pub(super) async fn next(&mut self) -> reqwest::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer.iter().rposition(|it| *it == b'\n') {
                let rest = self.buffer.split_off(at + 1);
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            if self.is_over {
                let last = std::mem::take(&mut self.buffer);
                return Ok((!last.is_empty()).then_some(last));
            }
            match self.answer.chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => self.is_over = true,
            }
        }
    }
}
