// Loads a SimGrid platform and sends the same bytes from every host to every other, one flow at a time:
//   simgrid_loads PLATFORM.xml BYTES  ->  "from to seconds" lines
#include <cstdio>
#include <cstdlib>
#include <simgrid/s4u.hpp>

namespace sg = simgrid::s4u;

static double seconds(sg::Host* from, sg::Host* to, std::uint64_t bytes)
{
  auto* box          = sg::Mailbox::by_name(from->get_name() + " to " + to->get_name());
  const double start = sg::Engine::get_clock();
  double end         = start;
  auto receiver      = sg::Actor::create("receiver", to, [box, &end] {
    box->get<double>();
    end = sg::Engine::get_clock();
  });
  auto sender = sg::Actor::create("sender", from, [box, bytes, &end] { box->put(&end, bytes); });
  sender->join();
  receiver->join();
  return end - start;
}

int main(int argc, char** argv)
{
  sg::Engine engine(&argc, argv);
  engine.load_platform(argv[1]);
  const auto hosts = engine.get_all_hosts();
  const auto bytes = std::strtoull(argv[2], nullptr, 10);
  sg::Actor::create("driver", hosts.front(), [&hosts, bytes] {
    for (auto* from : hosts)
      for (auto* to : hosts)
        if (from != to)
          std::printf("%s %s %.15g\n", from->get_cname(), to->get_cname(), seconds(from, to, bytes));
  });
  engine.run();
}
