//! INT8 dot-product kernels: scalar, AVX2 and AVX-512 VNNI.
