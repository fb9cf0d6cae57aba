#include "point2mask/parallel.hpp"
