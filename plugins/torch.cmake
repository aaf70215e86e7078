# What a library needs to build against the torch of Python_EXECUTABLE: torch_version, torch_cuda
# (empty for a torch without it), python_headers, and the function idle_md_use_torch.
#
# find_package(Torch) fails with a torch built for CUDA where no toolkit is: ask torch itself.
execute_process(
  COMMAND ${Python_EXECUTABLE} -c [=[
import torch
from pathlib import Path
from sysconfig import get_paths
from torch.utils.cpp_extension import include_paths
print(torch.__version__.split("+")[0], int(torch.compiled_with_cxx11_abi()), Path(torch.__file__).parent / "lib",
      torch.version.cuda or "", get_paths()["include"], *include_paths(), sep=";")
]=]
  OUTPUT_VARIABLE torch OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
list(POP_FRONT torch torch_version torch_abi torch_libraries torch_cuda python_headers)

# Torch has been loaded when these libraries are: they carry no path to it.
function(idle_md_use_torch target)
  target_include_directories(${target} SYSTEM PRIVATE ${torch})
  target_compile_definitions(${target} PRIVATE _GLIBCXX_USE_CXX11_ABI=${torch_abi})
  foreach(name IN ITEMS torch torch_cpu c10)
    target_link_libraries(${target} PRIVATE ${torch_libraries}/lib${name}.so)
  endforeach()
  set_target_properties(${target} PROPERTIES BUILD_RPATH "" SKIP_BUILD_RPATH ON)
  if(torch_version VERSION_GREATER_EQUAL 2.10)
    set_target_properties(${target} PROPERTIES CXX_STANDARD 20 CUDA_STANDARD 20)
  endif()
endfunction()
