"""A fault of oneDNN in bfloat16, and when zeros in front of a convolution must be real ones because of it."""


def needs_real_zeros(planes: int, depth: int, *, zeros: int, stride: int) -> bool:
    """Whether a kernel that is padded in time stands nowhere wholly on its input, and gives more than one plane.

    For these, oneDNN 3.12 (in torch 2.13) computes a wrong gradient of the weight in bfloat16 on a CPU, and writes
    beyond it. The third block of a T3D that sees 16 frames has two planes under kernels of three. Zeros that are part
    of the input, instead of being left to the convolution, give the same sums and right gradients.

    Args:
        planes: Of the input.
        depth: Of the kernel.
        zeros: Before the first plane, and as many behind the last.
        stride: In time.
    """
    first_within = -zeros % stride
    gives_one = planes + 2 * zeros < depth + stride
    return zeros > 0 and first_within + depth > planes and not gives_one
