//! Four words at a time, where the processor can. What is compared and masked here is on the way to the result; the compiler,
//! which is told to make a small program, takes one word at a time (measured: 27 ms for 64 MiB that are compared and masked,
//! instead of 11).
#![allow(unsafe_code, reason = "vectors are read and written through pointers")]

/// Compares bytes with the words of a stream from this position on, by its key and that of its mask. Returns how many were
/// compared, from the first one on: all that fill whole vectors, or none without them. None where one is wrong.
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "no vectors"))]
pub(super) fn right(bytes: &[u8], keys: (u64, Option<u64>), position: u64) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        let (vectors, rest) = bytes.as_chunks();
        // SAFETY: this processor has AVX2.
        let right = unsafe { avx2::right(vectors, keys, position) };
        return right.then_some(bytes.len() - rest.len());
    }
    Some(0)
}

/// Masks bytes with the words of a mask from this position on. Returns how many: as [`right`] does.
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "no vectors"))]
pub(super) fn mask(bytes: &mut [u8], key: u64, position: u64) -> usize {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        let (length, (vectors, rest)) = (bytes.len(), bytes.as_chunks_mut());
        // SAFETY: this processor has AVX2.
        unsafe { avx2::mask(vectors, key, position) };
        return length - rest.len();
    }
    0
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi64, _mm256_loadu_si256, _mm256_or_si256, _mm256_set_epi64x, _mm256_set1_epi64x,
        _mm256_setzero_si256, _mm256_slli_epi64, _mm256_srli_epi64, _mm256_storeu_si256, _mm256_testz_si256,
        _mm256_xor_si256,
    };

    use crate::smoke::payload::words::{ONES, STEP};

    const VECTOR: usize = size_of::<__m256i>();

    #[target_feature(enable = "avx2")]
    pub(super) fn right(bytes: &[[u8; VECTOR]], (key, mask): (u64, Option<u64>), position: u64) -> bool {
        match mask {
            None => compare(bytes, (key, 0), position, |word, _| word),
            Some(mask) => compare(bytes, (key, mask), position, |word, mask| _mm256_xor_si256(word, masking(mask))),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn compare(
        bytes: &[[u8; VECTOR]],
        (key, mask): (u64, u64),
        position: u64,
        expected: impl Fn(__m256i, __m256i) -> __m256i,
    ) -> bool {
        let (mut words, mut masks) = (first(key, position), first(mask, position));
        let mut differences = _mm256_setzero_si256();
        for vector in bytes {
            // SAFETY: the vector's bytes are there; no alignment is needed.
            let found = unsafe { _mm256_loadu_si256(vector.as_ptr().cast()) };
            let right = expected(scramble(words), masks);
            differences = _mm256_or_si256(differences, _mm256_xor_si256(found, right));
            (words, masks) = (next(words), next(masks));
        }
        _mm256_testz_si256(differences, differences) != 0
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn mask(bytes: &mut [[u8; VECTOR]], key: u64, position: u64) {
        let mut words = first(key, position);
        for vector in bytes {
            let vector: *mut __m256i = vector.as_mut_ptr().cast();
            // SAFETY: the vector's bytes are there, and borrowed exclusively; no alignment is needed.
            unsafe { _mm256_storeu_si256(vector, _mm256_xor_si256(_mm256_loadu_si256(vector), masking(words))) };
            words = next(words);
        }
    }

    /// What the first words are made of.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn first(key: u64, position: u64) -> __m256i {
        let at = |index| key.wrapping_add(position).wrapping_add(STEP.wrapping_mul(index)).cast_signed();
        _mm256_set_epi64x(at(3), at(2), at(1), at(0))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn next(words: __m256i) -> __m256i {
        _mm256_add_epi64(words, _mm256_set1_epi64x(STEP.wrapping_mul(4).cast_signed()))
    }

    /// As the function of the same name for one word.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn scramble(mut words: __m256i) -> __m256i {
        words = _mm256_xor_si256(words, _mm256_slli_epi64::<13>(words));
        words = _mm256_xor_si256(words, _mm256_srli_epi64::<7>(words));
        _mm256_xor_si256(words, _mm256_slli_epi64::<17>(words))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn masking(words: __m256i) -> __m256i {
        _mm256_or_si256(scramble(words), _mm256_set1_epi64x(ONES.cast_signed()))
    }
}
