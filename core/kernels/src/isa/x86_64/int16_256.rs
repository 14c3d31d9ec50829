//! Products of 16-bit integers in vectors of 256 bits.

/// Declares a tile of up to 6 rows, made of `add_products(sums, a, b)`, which computes `sums + a₀ b₀ + a₁ b₁` of the 16-bit
/// halves of each of eight lanes.
macro_rules! tile_i16_i16_256 {
    ($tile:ident, $add_products:path, $features:literal) => {
        /// # Safety
        /// The machine must have the instructions, and the tile's pointers must be valid.
        #[target_feature(enable = $features)]
        unsafe fn $tile(tile: Int16Tile) {
            if !tile.fits() {
                debug_assert!(false, "a tile of {} rows and {} pairs", tile.rows, tile.pairs);
                return;
            }
            for first in (0..WIDTH).step_by(16) {
                // SAFETY: the tile fits, its pointers are valid, it has that number of rows, and there are 16 columns from
                // `first` on.
                unsafe {
                    match tile.rows {
                        1 => multiply_pairs::<1>(&tile, first),
                        2 => multiply_pairs::<2>(&tile, first),
                        3 => multiply_pairs::<3>(&tile, first),
                        4 => multiply_pairs::<4>(&tile, first),
                        5 => multiply_pairs::<5>(&tile, first),
                        6 => multiply_pairs::<6>(&tile, first),
                        _ => debug_assert!(false, "a tile of {} rows", tile.rows),
                    }
                }
            }
        }

        /// `ROWS` rows by two vectors of 8 columns, from column `first` on.
        ///
        /// # Safety
        /// The tile must fit, have valid pointers and `ROWS` rows; `first` is at most `WIDTH - 16`.
        #[target_feature(enable = $features)]
        unsafe fn multiply_pairs<const ROWS: usize>(tile: &Int16Tile, first: usize) {
            let mut dots = [[_mm256_setzero_si256(); 2]; ROWS];
            // SAFETY: all offsets are below the lengths that the caller promises.
            unsafe {
                let mut x = super::lhs::LhsRows::new(tile.x.as_ptr().cast::<i32>(), tile.x_stride, ROWS);
                let mut panel = tile.panel.as_ptr().add(first);
                for _ in 0..tile.pairs {
                    let b = [_mm256_loadu_si256(panel.cast()), _mm256_loadu_si256(panel.add(8).cast())];
                    for r in 0..ROWS {
                        let a = _mm256_set1_epi32(*x.at(r));
                        for v in 0..2 {
                            dots[r][v] = $add_products(dots[r][v], a, b[v]);
                        }
                    }
                    x.advance();
                    panel = panel.wrapping_add(WIDTH);
                }
                for r in 0..ROWS {
                    let factor = _mm256_set1_ps(*tile.x_scales.as_ptr().add(r));
                    for v in 0..2 {
                        let scales = _mm256_loadu_ps(tile.scales.as_ptr().add(first + 8 * v));
                        let (from, to) = tile.pointers(r, first + 8 * v);
                        let (dot, factor) = (_mm256_cvtepi32_ps(dots[r][v]), _mm256_mul_ps(scales, factor));
                        let start = from.map_or(_mm256_setzero_ps(), |from| _mm256_loadu_ps(from));
                        _mm256_storeu_ps(to, _mm256_fmadd_ps(dot, factor, start));
                    }
                }
            }
        }
    };
}

pub(super) use tile_i16_i16_256;
