"""The optional C++ kernels for CPU tensors: built at run time where a compiler is, never needed."""
