//! Colours of transparent pixels.

use crate::degrade::Picture;

/// Mean colour seen in a square, and 1 if anything is seen there.
type Seen = [u32; 4];

/// One level of a pyramid: squares twice as large as those of the level below.
struct Level {
    width: usize,
    height: usize,
    /// (height, width).
    seen: Vec<Seen>,
}

/// Gives pixels that are wholly transparent the mean colour seen in the smallest square around them in which
/// anything is, of squares with sides of 2, 4, 8, … pixels. A network looks at neighbours, so colours that
/// nobody sees would shine through at edges.
pub(super) fn fill_transparent(picture: &mut Picture, alpha: &[u8]) {
    let seen = |(pixel, alpha): (&[u8; 3], &u8)| match alpha {
        0 => [0; 4],
        _ => [pixel[0].into(), pixel[1].into(), pixel[2].into(), 1],
    };
    if !alpha.contains(&0) || alpha.iter().all(|alpha| *alpha == 0) {
        return;
    }
    let (width, height) = (picture.width, picture.height);
    let pixels = picture.data.as_chunks::<3>().0.iter();
    let mut level = Level { width, height, seen: pixels.zip(alpha).map(seen).collect() };
    let mut levels = Vec::new();
    while level.width.max(level.height) > 1 {
        let above = level.above();
        levels.push(std::mem::replace(&mut level, above));
    }
    levels.push(level);
    for (index, pixel) in picture.data.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        if alpha[index] > 0 {
            continue;
        }
        let (x, y) = (index % width, index / width);
        let around =
            levels.iter().enumerate().map(|(up, level)| level.seen[(y >> up) * level.width + (x >> up)]);
        if let Some([r, g, b, _]) = around.into_iter().find(|seen| seen[3] > 0) {
            *pixel = [r, g, b].map(|mean| mean as u8);
        }
    }
}

impl Level {
    /// The next level.
    fn above(&self) -> Level {
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let at = |x: usize, y: usize| match x < self.width && y < self.height {
            true => self.seen[y * self.width + x],
            false => [0; 4],
        };
        let sum = |index: usize| {
            let (x, y) = (2 * (index % width), 2 * (index / width));
            let parts = [at(x, y), at(x + 1, y), at(x, y + 1), at(x + 1, y + 1)];
            let count: u32 = parts.iter().map(|part| part[3]).sum();
            // Nothing seen leaves nothing.
            let mean = |channel: usize| {
                let total: u32 = parts.iter().map(|part| part[channel]).sum();
                (total + count / 2).checked_div(count).unwrap_or(0)
            };
            [mean(0), mean(1), mean(2), count.min(1)]
        };
        Level { width, height, seen: (0..width * height).map(sum).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_colours_become_those_seen_nearby() {
        let data = [[255, 0, 255], [255, 0, 255], [10, 20, 30], [12, 20, 30], [255, 0, 255]].concat();
        let mut picture = Picture { width: 5, height: 1, data };
        fill_transparent(&mut picture, &[0, 0, 1, 255, 0]);
        let mean = [11, 20, 30];
        assert_eq!(picture.data, [mean, mean, [10, 20, 30], [12, 20, 30], mean].concat());
        let unseen = Picture { width: 1, height: 1, data: vec![255, 0, 255] };
        let mut same = unseen.clone();
        fill_transparent(&mut same, &[0]);
        assert_eq!(same, unseen);
    }
}
