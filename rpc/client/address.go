package client

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// An endpoint is one place to connect to.
type endpoint struct {
	// dial is what is connected to: `10.0.0.1:50051`, `unix:/run/graph.sock`.
	dial string
	// host is what the server's certificate must name.
	host string
}

// A place is one address as the caller gave it: an endpoint, or a host name that is looked up.
type place struct {
	endpoint
	// name and port are those of a host name; name is "" for others.
	name, port string
}

// ParseAddresses reads addresses as people write them: host, host:port, [::1]:port, unix:/path, several separated by commas; the
// schemes dns:, ipv4:, ipv6: and passthrough: of gRPC are taken too. A missing port is 50051. The result is what Dial takes; an
// error names every address that is none.
func ParseAddresses(text string) ([]string, error) {
	for _, scheme := range []string{"ipv4:", "ipv6:", "dns:", "passthrough:"} {
		if rest, ok := strings.CutPrefix(text, scheme); ok {
			text = rest
			if strings.HasPrefix(text, "//") { // an authority, `dns:///host`, which we have no use for
				_, text, _ = strings.Cut(text[2:], "/")
			}
			break
		}
	}
	var all []string
	var wrong []error
	for _, a := range strings.Split(text, ",") {
		if a = strings.TrimSpace(a); a == "" {
			continue
		}
		p, err := parsePlace(a)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		all = append(all, p.String())
	}
	if len(all) == 0 && len(wrong) == 0 {
		wrong = append(wrong, fmt.Errorf("address %q names no server", text))
	}
	return all, errors.Join(wrong...)
}

func (p place) String() string {
	if p.name != "" {
		return net.JoinHostPort(p.name, p.port)
	}
	return p.dial
}

// parsePlace reads one address.
func parsePlace(a string) (place, error) {
	if strings.HasPrefix(a, "unix:") {
		return place{endpoint: endpoint{dial: a, host: "localhost"}}, nil
	}
	host, port, err := net.SplitHostPort(a)
	if err != nil {
		host, port = strings.Trim(a, "[]"), DefaultPort
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return place{}, fmt.Errorf("address %q: the port must be 1 to 65535", a)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return place{endpoint: endpoint{dial: net.JoinHostPort(host, port), host: host}}, nil
	}
	if strings.ContainsAny(host, "/: \t") {
		return place{}, fmt.Errorf("address %q: %q is no name of a host", a, host)
	}
	return place{name: host, port: port}, nil
}
