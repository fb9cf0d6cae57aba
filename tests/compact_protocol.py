"""Integers in Thrift's compact protocol, as they stand in the footer of a Parquet file."""


def natural(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def integer(value: int) -> bytes:
    return natural(2 * value if value >= 0 else -2 * value - 1)
