package attack

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"sync"

	"tandem.dev/proto/identity"
)

// Crowd is two attackers of a coordinator at address, one without a token and one with that of a user, who have so many connections
// together. ca is the cluster's certificates, PEM. They come from two addresses of loopback that honest clients do not have.
func Crowd(address, ca, token string, connections int) []*Attacker {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca))
	trusts := &tls.Config{RootCAs: pool, ServerName: identity.RoleName(identity.RoleCoordinator), MinVersion: tls.VersionTLS12}
	var all []*Attacker
	for _, token := range []string{"", token} {
		all = append(all, &Attacker{
			Address: address, TLS: trusts, Token: token, From: []string{"127.0.0.2",
				"127.0.0.3"}, Connections: connections / 2, Patience: patience,
		})
	}
	return all
}

// Start has a crowd attack until the function that it returns is called, or ctx ends.
func Start(ctx context.Context, crowd []*Attacker) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for _, a := range crowd {
		wg.Go(func() { a.Run(ctx) })
	}
	return func() {
		cancel()
		wg.Wait()
	}
}
