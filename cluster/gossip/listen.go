//go:build !wasip1

package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

const listenTries = 20

// Listen opens host:port for packets and for streams. Port 0 is for one that is free for both.
func Listen(ctx context.Context, address string) (net.PacketConn, net.Listener, error) {
	var config net.ListenConfig
	for try := 1; ; try++ {
		streams, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, nil, fmt.Errorf("listen for gossip: %w", err)
		}
		packets, err := config.ListenPacket(ctx, "udp", streams.Addr().String())
		if err == nil {
			return packets, streams, nil
		}
		err = errors.Join(err, streams.Close())
		_, port, _ := net.SplitHostPort(address) // Listen has taken it
		if port != "0" || try == listenTries || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, nil, fmt.Errorf("listen for gossip: %w", err)
		}
	}
}

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

func lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// resolve makes IP addresses of host:port. A port of 0, or none, is the given one.
func resolve(ctx context.Context, address string, port uint16, lookUp func(context.Context, string) ([]netip.Addr, error)) ([]netip.AddrPort, error) {
	host, digits, err := net.SplitHostPort(address)
	if err != nil {
		host, digits = address, "0"
	}
	given, err := net.DefaultResolver.LookupPort(ctx, "tcp", digits)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", address, err)
	}
	if given != 0 {
		port = uint16(given)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), port)}, nil
	}
	found, err := lookUp(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", address, err)
	}
	var all []netip.AddrPort
	for _, ip := range found {
		all = append(all, netip.AddrPortFrom(ip.Unmap(), port))
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("resolve %s: the name has no address", address)
	}
	return all, nil
}

var errNoAddress = errors.New("this machine has no address that others could reach: advertise one")

// advertised is the address that others are told: the configured one, else the listener's, else one of this machine's.
func advertised(ctx context.Context, c *Config) (netip.AddrPort, error) {
	listening, err := netip.ParseAddrPort(c.Streams.Addr().String())
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address of gossip's listener: %w", err)
	}
	if c.Advertise != "" {
		found, err := resolve(ctx, c.Advertise, listening.Port(), c.LookUp)
		if err == nil {
			return prefer(found, listening.Addr()), nil
		}
		if !listening.Addr().IsUnspecified() {
			return netip.AddrPort{}, err
		}
		c.Logger.Warn("the name that gossip should advertise is not known yet, an address of this machine is", "name", c.Advertise, "error", err)
	}
	if !listening.Addr().IsUnspecified() {
		return netip.AddrPortFrom(listening.Addr().Unmap(), listening.Port()), nil
	}
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("addresses of this machine: %w", err)
	}
	var own []netip.AddrPort
	for _, a := range interfaces {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
			own = append(own, netip.AddrPortFrom(p.Addr().Unmap(), listening.Port()))
		}
	}
	if len(own) == 0 {
		return netip.AddrPort{}, errNoAddress
	}
	return prefer(own, listening.Addr()), nil
}

// prefer picks the address that the listener has, else one of its family, private before public.
func prefer(all []netip.AddrPort, listening netip.Addr) netip.AddrPort {
	best, score := all[0], -1
	for _, a := range all {
		s := 0
		if a.Addr() == listening.Unmap() {
			s += 4
		}
		if a.Addr().Is4() || listening.Is6() && !listening.IsUnspecified() {
			s += 2
		}
		if a.Addr().IsPrivate() {
			s++
		}
		if s > score {
			best, score = a, s
		}
	}
	return best
}
