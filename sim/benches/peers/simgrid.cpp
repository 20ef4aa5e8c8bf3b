// The flows of a list on SimGrid: what `network.rs` of this folder compares itself with.
//
// simgrid LIST FINISHES   reads the flow list that network.rs writes, prints the processor seconds that the measured
// flows took to simulate, and writes when each flow ended.
//
// Flows at once: an actor per chain, each of whose flows starts when the one before has ended. Collectives:
// an actor per rank, which in each round sends and receives and waits for both. Build: see build.sh.
#include <simgrid/s4u.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <string>
#include <vector>

namespace sg4 = simgrid::s4u;

struct Flow {
  unsigned from;
  unsigned to;
  uint64_t bytes;
};

static std::vector<sg4::Host*> hosts;
static std::vector<std::vector<Flow>> chains;
static long warm_up = 0;
static long measured = 0;
static long completed = 0;
static double began = 0;
static std::ofstream finishes;

/// Seconds that this process has been on a processor.
static double seconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

/// Notes the end of a flow; after the last one measured, the program ends.
static void complete(size_t chain, size_t flow) {
  finishes << chain << ' ' << flow << ' ' << sg4::Engine::get_clock() << '\n';
  completed++;
  if (completed == warm_up)
    began = seconds();
  if (completed == warm_up + measured) {
    std::cout << std::setprecision(9) << seconds() - began << std::endl;
    finishes.close();
    std::_Exit(0);
  }
}

static void run_chain(size_t chain) {
  const auto& flows = chains[chain];
  for (size_t flow = 0; flow < flows.size(); flow++) {
    sg4::Comm::sendto(hosts[flows[flow].from], hosts[flows[flow].to], flows[flow].bytes);
    complete(chain, flow);
  }
}

static std::string box(unsigned from, unsigned to) { return std::to_string(from) + ">" + std::to_string(to); }

/// Round by round: chain `rank` holds what the rank sends, and `receives` from whom.
static void run_rank(size_t rank, std::vector<unsigned> receives) {
  const auto& sends = chains[rank];
  for (size_t round = 0; round < sends.size(); round++) {
    static char payload;
    auto out = sg4::Mailbox::by_name(box(sends[round].from, sends[round].to))->put_async(&payload, sends[round].bytes);
    char* got = nullptr;
    auto in = sg4::Mailbox::by_name(box(receives[round], sends[round].from))->get_async<char>(&got);
    out->wait();
    complete(rank, round);
    in->wait();
  }
}

int main(int argc, char** argv) {
  sg4::Engine engine(&argc, argv);
  sg4::Engine::set_config("network/model:CM02");
  sg4::Engine::set_config("network/crosstraffic:0");
  sg4::Engine::set_config("surf/precision:1e-9");
  sg4::Engine::set_config("contexts/stack-size:64");
  std::ifstream list(argv[1]);
  finishes.open(argv[2]);
  finishes << std::setprecision(17);

  std::string kind;
  size_t host_count;
  size_t link_count;
  size_t route_count;
  size_t chain_count;
  list >> kind >> host_count >> link_count >> route_count >> chain_count >> warm_up >> measured;
  auto* zone = sg4::create_full_zone("zone");
  for (size_t host = 0; host < host_count; host++)
    hosts.push_back(zone->create_host(std::to_string(host), 1e9));
  std::vector<const sg4::Link*> links;
  for (size_t link = 0; link < link_count; link++) {
    double bytes_per_second;
    list >> bytes_per_second;
    links.push_back(zone->create_link("l" + std::to_string(link), bytes_per_second)->set_latency(0)->seal());
  }
  for (size_t route = 0; route < route_count; route++) {
    unsigned from;
    unsigned to;
    size_t hops;
    list >> from >> to >> hops;
    std::vector<sg4::LinkInRoute> path;
    for (size_t hop = 0; hop < hops; hop++) {
      size_t link;
      list >> link;
      path.emplace_back(links[link]);
    }
    zone->add_route(hosts[from]->get_netpoint(), hosts[to]->get_netpoint(), nullptr, nullptr, path, false);
  }
  zone->seal();
  chains.resize(chain_count);
  for (auto& chain : chains) {
    size_t flows;
    list >> flows;
    chain.resize(flows);
    for (auto& flow : chain)
      list >> flow.from >> flow.to >> flow.bytes;
  }
  for (size_t chain = 0; chain < chain_count; chain++) {
    if (kind == "flows") {
      sg4::Actor::create(std::to_string(chain), hosts[0], run_chain, chain);
      continue;
    }
    std::vector<unsigned> receives;
    for (size_t round = 0; round < chains[chain].size(); round++)
      for (const auto& other : chains)
        if (other[round].to == chains[chain][round].from)
          receives.push_back(other[round].from);
    sg4::Actor::create(std::to_string(chain), hosts[chain], run_rank, chain, receives);
  }
  began = seconds();
  engine.run();
  std::cerr << "the flows ended before those measured had" << std::endl;
  return 1;
}
