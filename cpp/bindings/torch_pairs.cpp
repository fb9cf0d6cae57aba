#include <torch/csrc/stable/library.h>

#include "checks.hpp"
