package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// welcome says that the server serves and, with the sample, what there is to see. Of peers the ready line tells what it is given.
func (p *program) welcome(ctx context.Context, cfg serverConfig, logger hclog.Logger, api, metrics net.Addr, peers string) error {
	if cfg.sample {
		if err := p.showSample(ctx, reachable(api)); err != nil {
			return err
		}
	}
	for _, a := range []net.Addr{api, metrics} {
		if tcp, ok := a.(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
			logger.Warn("others than this machine may connect: no credentials are asked for and nothing is encrypted", "address", a.String())
		}
	}
	text := fmt.Sprintf("ready grpc=%s metrics=%s %sdata=%s\n", api, metrics, peers, quoted(cfg.place()))
	if cfg.sample {
		text += p.nextSteps(cfg, reachable(api), reachable(metrics))
	}
	// In one piece: whoever reads only the first line may then go. Who reads nothing at all still gets a server.
	_, _ = fmt.Fprint(p.stdout, text)
	return nil
}

// quoted is a value of the ready line: as it stands, or quoted as in Go when it would not end where it ends.
func quoted(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return unsafe(r) || unicode.IsSpace(r) || r == '"' }) {
		return strconv.QuoteToGraphic(s)
	}
	return s
}

// reachable is an address under which this machine reaches a listener: one on every address is on loopback, too.
func reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	host := net.IPv6loopback
	if tcp.IP.To4() != nil {
		host = net.IPv4(127, 0, 0, 1)
	}
	return net.JoinHostPort(host.String(), strconv.Itoa(tcp.Port))
}

// showSample loads the sample into a graph without nodes, and prints it.
func (p *program) showSample(ctx context.Context, address string) error {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		return err
	}
	defer conn.Close()
	empty, err := isEmpty(ctx, conn)
	if err != nil || !empty {
		return err
	}
	_, err = loadSample(ctx, conn, p.stdout)
	return err
}

func (p *program) nextSteps(cfg serverConfig, api, metrics string) string {
	self, address, end := shellWord(p.self), " --address "+api, "the data stays in "+printable(cfg.dataDir)
	if api == defaultAddress && p.getenv(addressVariable) == "" {
		address = ""
	}
	if cfg.inMemory {
		end = "the data goes with it"
	}
	return fmt.Sprintf(`
try, in another terminal:
  %[1]s session list%[2]s
  %[1]s query%[2]s --type tool_invocation --filter status=failed
  %[1]s events --follow%[2]s
  %[1]s import PATH%[2]s      your own chats: JSON or JSONL
  open http://%[3]s/
stop with ctrl-c; %[4]s.
`, self, address, metrics, end)
}

// shellWord makes one word for a shell of a text.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("/._-+@%:=,", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
