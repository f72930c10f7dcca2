package modes

import (
	"slices"
	"time"

	"vft/modes/config"
)

// trapPool is written out so that --help and `config show` say what it is.
const trapPool = "21,22,23,25,80,110,111,135,139,143,443,445,554,873,1080,1433,1521,1723,1883,2049," +
	"2222,2323,2375,3306,3389,5000,5060,5432,5555,5900,5985,6379,8000,8080,8081,8443,8888,9200,11211,27017"

// options are all settings of vft, in the order in which --help prints them.
var options = slices.Concat(mainOptions, captureOptions, exportOptions, logOptions)

// mainOptions are about servers, clients and traps.
var mainOptions = []config.Option{
	{Name: "bind", Default: "127.0.0.1:9999", Kind: config.HostPort, Modes: config.Server,
		Usage: "where clients connect, HOST:PORT"},
	{Name: "ssl", Default: "true", Kind: config.Bool, Modes: config.Server | config.Client,
		Usage: "TLS, with an own certificate unless --cert and --key are given; =false is plain text"},
	{Name: "allow-plaintext", Default: "false", Kind: config.Bool, Modes: config.Server | config.Client,
		Usage: "let --ssl=false use an address that is not loopback"},
	{Name: "cert", Kind: config.Text, Modes: config.Server | config.Client,
		Usage: "PEM file: the server's certificate; on a client, the one certificate or CA to trust"},
	{Name: "key", Kind: config.Text, Modes: config.Server,
		Usage: "PEM file: the private key of --cert"},
	{Name: "rules", Kind: config.Text, Modes: config.Server | config.Standalone,
		Usage: "YAML file of rules in place of the built-in ones (vft config show --rules)"},
	{Name: "events", Default: "false", Kind: config.Bool, Modes: config.Server,
		Usage: "write each vft.trap and vft.client record to stdout too, not only alerts"},
	{Name: "heartbeat", Default: "10s", Kind: config.Duration(100*time.Millisecond, time.Hour), Modes: config.Server,
		Usage: "how often a client says that it lives; three missed raise sensor-lost"},
	{Name: "server", Default: "127.0.0.1:9999", Kind: config.HostPort, Modes: config.Client,
		Usage: "the server to report to, HOST:PORT"},
	{Name: "join", Kind: config.Text, Secret: true, Modes: config.Client,
		Usage: "the string that the server prints: address, certificate pin and token in one"},
	{Name: "dest", Kind: config.Texts, Default: "stdout://", Modes: config.Standalone,
		Usage: "where records go: HOST:PORT, tcp://, tls://, udp://, file:///PATH or stdout://; repeatable"},
	{Name: "format", Default: "ecs", Kind: config.OneOf("ecs"), Modes: config.Standalone,
		Usage: "form of the records: ecs"},
	{Name: "secret", Kind: config.Text, Secret: true, Modes: config.Server | config.Client,
		Usage: "shared secret of the fleet; other users of the host can read a command line: --secret-file is better"},
	{Name: "secret-file", Kind: config.Text, Modes: config.Server | config.Client,
		Usage: "file that holds the shared secret (made in the data directory when there is none)"},
	{Name: "data-dir", Kind: config.Text, Modes: config.All,
		Usage: "certificate, secret, identity and trap ports (default /var/lib/vft as root, else ~/.local/state/vft)"},
	{Name: "traps", Default: "5", Kind: config.Int(0, 1000), Modes: config.Hosts,
		Usage: "how many trap ports; 0 for none"},
	{Name: "trap-ports", Kind: config.Ports, Modes: config.Hosts,
		Usage: "exactly these trap ports, separated by commas"},
	{Name: "trap-pool", Default: trapPool, Kind: config.Ports, Modes: config.Hosts,
		Usage: "choose the trap ports from these"},
	{Name: "trap-bind", Kind: config.Addresses, Modes: config.Hosts,
		Usage: "addresses to open traps on (default all, IPv4 and IPv6)"},
	{Name: "trap-hold", Default: "3.1s", Kind: config.Duration(0, 10*time.Second), Modes: config.Hosts,
		Usage: "how long to wait for the first bytes of a connection; 0 closes at once"},
	{Name: "http", Default: "off", Kind: config.OneOf("off"), Modes: config.All,
		Usage: "HTTP API; this version has none, so only off"},
}

// logOptions are about what vft says of itself.
var logOptions = []config.Option{
	{Name: "log-level", Aliases: []string{"loglevel"}, Default: "info", Kind: config.OneOf("debug", "info", "warn", "error"), Modes: config.All,
		Usage: "least important messages to log: debug, info, warn, error"},
	{Name: "log-format", Default: "auto", Kind: config.OneOf("auto", "console", "json"), Modes: config.All,
		Usage: "console for people, json for programs, auto: console on a terminal"},
	{Name: "config", Kind: config.Text, Modes: config.All,
		Usage: "YAML file of these settings: NAME: VALUE"},
}
