package memnet

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// open returns both ends of a connection from a to b.
func open(t *testing.T, n *Network) (mine, theirs net.Conn) {
	t.Helper()
	l, err := n.Host("b").Listen(7)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if mine, err = n.Host("a").Dial(t.Context(), "b:7"); err != nil {
		t.Fatal(err)
	}
	if theirs, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = mine.Close(), theirs.Close() })
	return mine, theirs
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c net.Conn, n int) string {
	t.Helper()
	p := make([]byte, n)
	if _, err := io.ReadFull(c, p); err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine, theirs := open(t, New())
		send(t, mine, "to you")
		send(t, theirs, "to me")
		if got := receive(t, theirs, 6) + receive(t, mine, 5); got != "to youto me" {
			t.Errorf("got %q", got)
		}
		if err := mine.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := mine.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a read past its deadline: %v", err)
		}
		send(t, mine, "last")
		_ = mine.Close()
		if got := receive(t, theirs, 4); got != "last" {
			t.Errorf("what was sent before the end: %q", got)
		}
		if _, err := theirs.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a read after the other end closed: %v", err)
		}
		if _, err := theirs.Write(make([]byte, 1)); err == nil {
			t.Error("a write to nobody goes well")
		}
	})
}

func TestAWriteWaitsForItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine, theirs := open(t, New())
		all := make(chan error, 1)
		go func() {
			_, err := mine.Write(make([]byte, 3*bufferBytes))
			all <- err
		}()
		synctest.Wait()
		select {
		case err := <-all:
			t.Fatalf("three buffers were written to nobody: %v", err)
		default:
		}
		receive(t, theirs, 3*bufferBytes)
		if err := <-all; err != nil {
			t.Error(err)
		}
	})
}

func TestACutLinkHoldsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		mine, theirs := open(t, n)
		n.Cut("a", "b")
		send(t, mine, "later")
		_ = theirs.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("something came through a cut link: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := n.Host("a").Dial(ctx, "b:7"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a dial through a cut link: %v", err)
		}
		_ = theirs.SetReadDeadline(time.Time{})
		n.Heal("a", "b")
		if got := receive(t, theirs, 5); got != "later" {
			t.Errorf("after healing: %q", got)
		}
	})
}

func TestNamesLeadToWhoHasThemNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		n.SetName("db", "c")
		if _, err := n.Host("a").Dial(t.Context(), "db:7"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a dial to nobody: %v", err)
		}
		open(t, n)
		n.SetName("db", "b")
		c, err := n.Host("a").Dial(t.Context(), "db:7")
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	})
}

func TestPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		a, err := n.Host("a").ListenPacket(0)
		if err != nil {
			t.Fatal(err)
		}
		b, err := n.Host("b").ListenPacket(9)
		if err != nil {
			t.Fatal(err)
		}
		n.Cut("a", "b")
		_, _ = a.WriteTo([]byte("lost"), b.LocalAddr())
		n.Heal("a", "b")
		_, _ = a.WriteTo([]byte("here"), b.LocalAddr())
		p := make([]byte, 9)
		k, from, err := b.ReadFrom(p)
		if err != nil || string(p[:k]) != "here" || from.String() != a.LocalAddr().String() {
			t.Errorf("got %q from %v, %v", p[:k], from, err)
		}
		_, _ = a.Close(), b.Close()
		if _, _, err := b.ReadFrom(p); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after closing: %v", err)
		}
	})
}
