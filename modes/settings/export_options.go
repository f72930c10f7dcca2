package settings

// exportOptions are about flows that exporters send, and where threats go.
func (s *Settings) exportOptions() []Option {
	return []Option{
		{Name: "netflow", Default: "off", Value: Listeners(2055, &s.collect.netflow), Modes: ServerMode | StandaloneMode, Envs: []string{"COLLECTOR_LISTEN_PORT"},
			Usage: "collect NetFlow, IPFIX and sFlow on this UDP address, as :2055; several: separated by commas; with --pcapfile: the destination ports to decode"},
		{Name: "ipfix", Default: "off", Value: Listeners(4739, &s.collect.ipfix), Modes: ServerMode | StandaloneMode,
			Usage: "the same on another address; each protocol is understood on any of them"},
		{Name: "sflow", Default: "off", Value: Listeners(6343, &s.collect.sflow), Modes: ServerMode | StandaloneMode,
			Usage: "the same on another address"},
		{Name: "exporters", Value: Networks(&s.Flows.Exporters), Modes: ServerMode | StandaloneMode,
			Usage: "take datagrams from these addresses or networks only (default: from everybody)"},
		{Name: "exporter-sampling", Value: Sampling(&s.Flows.Sampling), Modes: ServerMode | StandaloneMode,
			Usage: "EXPORTER=RATE: this exporter looks at one packet of RATE, whatever it says; repeatable"},
		{Name: "collector-workers", Default: "1", Value: Int(0, 64, &s.Flows.Workers), Modes: ServerMode | StandaloneMode,
			Usage: "sockets per address, each with a goroutine that receives and decodes; what they bring is judged one after the other; 0: one per core, at most 4"},
		{Name: "sensors", Value: Text(&s.Sensors), Modes: All, Reload: All,
			Usage: "YAML file of sensors beside or in place of the built-in ones (docs/sensors.md; vft config show --sensors)"},
		{Name: "amqp", Value: Text(&s.Broker.URL), Secret: true, Modes: ServerMode | StandaloneMode, Envs: []string{"AMQP_REPORTING_URI"},
			Usage: "send each threat to this RabbitMQ, as amqp://USER:PASSWORD@HOST:5672/VHOST or amqps://"},
		{Name: "amqp-exchange", Value: Text(&s.Broker.Exchange), Modes: ServerMode | StandaloneMode,
			Usage: "exchange of --amqp (default: the one that hands to the queue)"},
		{Name: "amqp-queue", Default: "security-threat", Value: Text(&s.Broker.Queue), Modes: ServerMode | StandaloneMode, Envs: []string{"AMQP_REPORTING_QUEUE"},
			Usage: "durable queue, and routing key, of --amqp"},
	}
}
