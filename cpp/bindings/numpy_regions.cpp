#include "numpy_arrays.hpp"
#include "point2mask/regions.hpp"

namespace point2mask::bindings {
namespace {

std::invalid_argument too_small(const char* what, std::int64_t least, std::int64_t got) {
  return std::invalid_argument(std::string(what) + " must be at least " + std::to_string(least) +
                               ", got " + std::to_string(got));
}

Array<float> histogram_gradient_numpy(const Array<float>& channels, std::int64_t bins,
                                      std::int64_t radius, std::int64_t distance) {
  check_shape("histogram_gradient", "channels", channels, {{"C"}, {"H"}, {"W"}});
  if (bins < 2) throw too_small("histogram_gradient: bins", 2, bins);
  if (bins > kMostWindowBins)
    throw std::invalid_argument("histogram_gradient: bins must be at most " +
                                std::to_string(kMostWindowBins) + ", got " + std::to_string(bins));
  if (radius < 0) throw too_small("histogram_gradient: radius", 0, radius);
  if (distance < 1) throw too_small("histogram_gradient: distance", 1, distance);
  auto strength = new_array<float>({channels.shape(1), channels.shape(2)});
  const HistogramGradient g{.channels = channels.data(),
                            .channel_count = channels.shape(0),
                            .height = channels.shape(1),
                            .width = channels.shape(2),
                            .bins = bins,
                            .radius = radius,
                            .distance = distance,
                            .strength = strength.mutable_data()};
  {
    const py::gil_scoped_release release;
    histogram_gradient(g);
  }
  return strength;
}

Array<std::int32_t> merge_regions_numpy(const py::object& regions_in, std::int64_t region_count,
                                        const Array<float>& edge, const py::object& bins_in,
                                        const py::object& bin_counts_in,
                                        const Array<double>& weights, const py::object& seeds_in,
                                        const Array<double>& reach, double size_exponent) {
  constexpr auto kName = "merge_regions";
  const auto regions = integers(kName, "regions", regions_in);
  const auto bins = integers(kName, "bins", bins_in);
  const auto bin_counts = integers(kName, "bin_counts", bin_counts_in);
  const auto seeds = integers(kName, "seeds", seeds_in);
  check_shape(kName, "regions", regions, {{"H"}, {"W"}});
  const std::int64_t height = regions.shape(0), width = regions.shape(1);
  check_shape(kName, "edge", edge, {{"H", height}, {"W", width}});
  check_shape(kName, "bins", bins, {{"F"}, {"H", height}, {"W", width}});
  check_shape(kName, "bin_counts", bin_counts, {{"F", bins.shape(0)}});
  check_shape(kName, "weights", weights, {{"F", bins.shape(0)}});
  check_shape(kName, "seeds", seeds, {{"K"}, {"P"}});
  check_shape(kName, "reach", reach, {{"K", seeds.shape(0)}});
  if (region_count < 0) throw too_small("merge_regions: region_count", 0, region_count);
  auto labels = new_array<std::int32_t>({height, width});
  const RegionMerge m{.regions = regions.data(),
                      .edge = edge.data(),
                      .bins = bins.data(),
                      .seeds = seeds.data(),
                      .reach = reach.data(),
                      .bin_counts = bin_counts.data(),
                      .weights = weights.data(),
                      .height = height,
                      .width = width,
                      .region_count = region_count,
                      .features = bins.shape(0),
                      .targets = seeds.shape(0),
                      .points = seeds.shape(1),
                      .size_exponent = size_exponent,
                      .labels = labels.mutable_data()};
  {
    const py::gil_scoped_release release;
    merge_regions(m);
  }
  return labels;
}

Array<std::int32_t> watershed_numpy(const Array<float>& edge, const py::object& markers_in) {
  constexpr auto kName = "watershed";
  const auto markers = integers(kName, "markers", markers_in);
  check_shape(kName, "edge", edge, {{"H"}, {"W"}});
  const std::int64_t height = edge.shape(0), width = edge.shape(1);
  check_shape(kName, "markers", markers, {{"H", height}, {"W", width}});
  auto labels = new_array<std::int32_t>({height, width});
  const Watershed w{.edge = edge.data(),
                    .markers = markers.data(),
                    .height = height,
                    .width = width,
                    .labels = labels.mutable_data()};
  {
    const py::gil_scoped_release release;
    watershed(w);
  }
  return labels;
}

} // namespace

void bind_regions(py::module_& m) {
  m.def("histogram_gradient", &histogram_gradient_numpy, py::arg("channels"), py::arg("bins") = 8,
        py::arg("radius") = 3, py::arg("distance") = 4);
  m.def("merge_regions", &merge_regions_numpy, py::arg("regions"), py::arg("region_count"),
        py::arg("edge"), py::arg("bins"), py::arg("bin_counts"), py::arg("weights"),
        py::arg("seeds"), py::arg("reach"), py::arg("size_exponent") = 0.05);
  m.def("watershed", &watershed_numpy, py::arg("edge"), py::arg("markers"));
}

} // namespace point2mask::bindings
