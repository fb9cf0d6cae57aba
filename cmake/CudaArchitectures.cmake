# Sets CMAKE_CUDA_ARCHITECTURES where nobody has, or leaves it empty for a build without kernels:
# what the environment's POINT2MASK_CUDA_ARCHITECTURES lists (as CMake writes it, "80-real;90"); else,
# for an editable build, that of this machine's GPUs, nothing if it has none; else all.
if(DEFINED CMAKE_CUDA_ARCHITECTURES)
  return()
endif()
set(CMAKE_CUDA_ARCHITECTURES $ENV{POINT2MASK_CUDA_ARCHITECTURES})
if(CMAKE_CUDA_ARCHITECTURES)
  return()
endif()
if(SKBUILD_STATE STREQUAL "editable" AND POINT2MASK_CUDA STREQUAL "AUTO")
  execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
    OUTPUT_VARIABLE _capabilities ERROR_QUIET RESULT_VARIABLE _no_gpu)
  if(_no_gpu)
    message(STATUS "point2mask: no GPU here, so an editable build compiles no CUDA kernels; "
      "POINT2MASK_CUDA_ARCHITECTURES=90-real, for example, in the environment does")
    return()
  endif()
  string(REGEX MATCHALL "[0-9]+\\.[0-9]+" _capabilities "${_capabilities}")
  foreach(_capability IN LISTS _capabilities)
    string(REPLACE "." "" _capability "${_capability}")
    list(APPEND CMAKE_CUDA_ARCHITECTURES "${_capability}-real")
  endforeach()
  list(REMOVE_DUPLICATES CMAKE_CUDA_ARCHITECTURES)
  return()
endif()
# Those of a newer minor version run this code as well; 100 and 120 come as PTX too, which a driver
# compiles for what is newer than either: 11.0 takes that of 10.0.
set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90-real 100 120)
