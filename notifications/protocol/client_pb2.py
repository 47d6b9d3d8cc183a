"""The messages of client.proto. Written by scripts/protobuf; do not edit."""

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

# A pool of its own, because other packages may have messages of the same names in the common one.
DESCRIPTOR = DescriptorPool().AddSerializedFile(
    b'\n#notifications/protocol/client.'
    b'proto\x12\x16notifications.protocol"\xdb\x05'
    b'\n\x07Command\x12\n\n\x02id\x18\x01 \x01(\r\x127\n\x07connect'
    b'\x18\x04 \x01(\x0b2&.notifications.protocol.'
    b'ConnectRequest\x12;\n\tsubscribe\x18\x05 \x01('
    b'\x0b2(.notifications.protocol.Subsc'
    b'ribeRequest\x12?\n\x0bunsubscribe\x18\x06 \x01(\x0b'
    b'2*.notifications.protocol.Unsubs'
    b'cribeRequest\x127\n\x07publish\x18\x07 \x01(\x0b2&.'
    b'notifications.protocol.PublishRe'
    b"quest\x129\n\x08presence\x18\x08 \x01(\x0b2'.notifi"
    b'cations.protocol.PresenceRequest'
    b'\x12D\n\x0epresence_stats\x18\t \x01(\x0b2,.notif'
    b'ications.protocol.PresenceStatsR'
    b'equest\x127\n\x07history\x18\n \x01(\x0b2&.notifi'
    b'cations.protocol.HistoryRequest\x12'
    b'1\n\x04ping\x18\x0b \x01(\x0b2#.notifications.pr'
    b'otocol.PingRequest\x121\n\x04send\x18\x0c \x01(\x0b'
    b'2#.notifications.protocol.SendRe'
    b'quest\x12/\n\x03rpc\x18\r \x01(\x0b2".notificatio'
    b'ns.protocol.RPCRequest\x127\n\x07refres'
    b'h\x18\x0e \x01(\x0b2&.notifications.protocol'
    b'.RefreshRequest\x12>\n\x0bsub_refresh\x18\x0f'
    b' \x01(\x0b2).notifications.protocol.Su'
    b'bRefreshRequestJ\x04\x08\x02\x10\x03J\x04\x08\x03\x10\x04"\x16\n\x08N'
    b'umbered\x12\n\n\x02id\x18\x01 \x01(\r"\x86\x03\n\x0eConnectR'
    b'equest\x12\r\n\x05token\x18\x01 \x01(\t\x12\x0c\n\x04data\x18\x02 '
    b'\x01(\x0c\x12>\n\x04subs\x18\x03 \x03(\x0b20.notification'
    b's.protocol.ConnectRequest.SubsEn'
    b'try\x12\x0c\n\x04name\x18\x04 \x01(\t\x12\x0f\n\x07version\x18\x05 \x01'
    b'(\t\x12D\n\x07headers\x18\x06 \x03(\x0b23.notificati'
    b'ons.protocol.ConnectRequest.Head'
    b'ersEntry\x12\x0c\n\x04flag\x18\x07 \x01(\x03\x12\x0c\n\x04dict\x18\x08'
    b' \x01(\t\x12\x0f\n\x07profile\x18\t \x01(\t\x1aU\n\tSubsEnt'
    b'ry\x12\x0b\n\x03key\x18\x01 \x01(\t\x127\n\x05value\x18\x02 \x01(\x0b2('
    b'.notifications.protocol.Subscrib'
    b'eRequest:\x028\x01\x1a.\n\x0cHeadersEntry\x12\x0b\n\x03'
    b'key\x18\x01 \x01(\t\x12\r\n\x05value\x18\x02 \x01(\t:\x028\x01"\xcf\x02\n'
    b'\x10SubscribeRequest\x12\x0f\n\x07channel\x18\x01 \x01'
    b'(\t\x12\r\n\x05token\x18\x02 \x01(\t\x12\x0f\n\x07recover\x18\x03 \x01'
    b'(\x08\x12\r\n\x05epoch\x18\x06 \x01(\t\x12\x0e\n\x06offset\x18\x07 \x01('
    b'\x04\x12\x0c\n\x04data\x18\x08 \x01(\x0c\x12\x12\n\npositioned\x18\t '
    b'\x01(\x08\x12\x13\n\x0brecoverable\x18\n \x01(\x08\x12\x12\n\njoin'
    b'_leave\x18\x0b \x01(\x08\x12\r\n\x05delta\x18\x0c \x01(\t\x12.\n\x02t'
    b'f\x18\r \x01(\x0b2".notifications.protocol'
    b'.FilterNode\x12\x0c\n\x04flag\x18\x0e \x01(\x03\x12\x0c\n\x04typ'
    b'e\x18\x0f \x01(\x05\x12\r\n\x05phase\x18\x10 \x01(\x05\x12\x0e\n\x06cursor'
    b'\x18\x11 \x01(\t\x12\r\n\x05limit\x18\x12 \x01(\x05\x12\x0b\n\x03asc\x18\x13 \x01'
    b'(\x08J\x04\x08\x04\x10\x05J\x04\x08\x05\x10\x06"\x80\x01\n\nFilterNode\x12\n\n'
    b'\x02op\x18\x01 \x01(\t\x12\x0b\n\x03key\x18\x02 \x01(\t\x12\x0b\n\x03cmp\x18\x03 '
    b'\x01(\t\x12\x0b\n\x03val\x18\x04 \x01(\t\x12\x0c\n\x04vals\x18\x05 \x03(\t\x121'
    b'\n\x05nodes\x18\x06 \x03(\x0b2".notifications.pr'
    b'otocol.FilterNode"%\n\x12Unsubscribe'
    b'Request\x12\x0f\n\x07channel\x18\x01 \x01(\t"[\n\x0ePubl'
    b'ishRequest\x12\x0f\n\x07channel\x18\x01 \x01(\t\x12\x0c\n\x04d'
    b'ata\x18\x02 \x01(\x0c\x12\x0c\n\x04type\x18\x03 \x01(\x05\x12\x0b\n\x03key\x18\x04'
    b' \x01(\t\x12\x0f\n\x07removed\x18\x05 \x01(\x08""\n\x0fPresenc'
    b'eRequest\x12\x0f\n\x07channel\x18\x01 \x01(\t"\'\n\x14Pre'
    b'senceStatsRequest\x12\x0f\n\x07channel\x18\x01 \x01'
    b'(\t"/\n\x0eStreamPosition\x12\x0e\n\x06offset\x18\x01'
    b' \x01(\x04\x12\r\n\x05epoch\x18\x02 \x01(\t"\x96\x01\n\x0eHistoryR'
    b'equest\x12\x0f\n\x07channel\x18\x01 \x01(\t\x12\r\n\x05limit'
    b'\x18\x07 \x01(\x05\x125\n\x05since\x18\x08 \x01(\x0b2&.notifica'
    b'tions.protocol.StreamPosition\x12\x0f\n'
    b'\x07reverse\x18\t \x01(\x08J\x04\x08\x02\x10\x03J\x04\x08\x03\x10\x04J\x04\x08\x04\x10\x05'
    b'J\x04\x08\x05\x10\x06J\x04\x08\x06\x10\x07"\r\n\x0bPingRequest"\x1b\n\x0bS'
    b'endRequest\x12\x0c\n\x04data\x18\x01 \x01(\x0c"*\n\nRPCR'
    b'equest\x12\x0c\n\x04data\x18\x01 \x01(\x0c\x12\x0e\n\x06method\x18\x02'
    b' \x01(\t"\x1f\n\x0eRefreshRequest\x12\r\n\x05token\x18'
    b'\x01 \x01(\t")\n\tKeyedItem\x12\x0b\n\x03key\x18\x01 \x01(\t\x12'
    b'\x0f\n\x07version\x18\x02 \x01(\x04"Q\n\nTrackBatch\x12\x11'
    b'\n\tsignature\x18\x01 \x01(\t\x120\n\x05items\x18\x02 \x03(\x0b'
    b'2!.notifications.protocol.KeyedI'
    b'tem"\x85\x01\n\x11SubRefreshRequest\x12\x0f\n\x07cha'
    b'nnel\x18\x01 \x01(\t\x12\r\n\x05token\x18\x02 \x01(\t\x12\x0c\n\x04typ'
    b'e\x18\x03 \x01(\x05\x121\n\x05track\x18\x04 \x03(\x0b2".notific'
    b'ations.protocol.TrackBatch\x12\x0f\n\x07un'
    b'track\x18\x05 \x03(\t"?\n\x10EmulationRequest\x12'
    b'\x0c\n\x04node\x18\x01 \x01(\t\x12\x0f\n\x07session\x18\x02 \x01(\t\x12\x0c'
    b'\n\x04data\x18\x03 \x01(\x0c"\xef\x05\n\x05Reply\x12\n\n\x02id\x18\x01 \x01'
    b'(\r\x12,\n\x05error\x18\x02 \x01(\x0b2\x1d.notification'
    b's.protocol.Error\x12*\n\x04push\x18\x04 \x01(\x0b2\x1c'
    b'.notifications.protocol.Push\x126\n\x07'
    b'connect\x18\x05 \x01(\x0b2%.notifications.pr'
    b'otocol.ConnectResult\x12:\n\tsubscrib'
    b"e\x18\x06 \x01(\x0b2'.notifications.protocol"
    b'.SubscribeResult\x12>\n\x0bunsubscribe\x18'
    b'\x07 \x01(\x0b2).notifications.protocol.U'
    b'nsubscribeResult\x126\n\x07publish\x18\x08 \x01('
    b'\x0b2%.notifications.protocol.Publi'
    b'shResult\x128\n\x08presence\x18\t \x01(\x0b2&.not'
    b'ifications.protocol.PresenceResu'
    b'lt\x12C\n\x0epresence_stats\x18\n \x01(\x0b2+.not'
    b'ifications.protocol.PresenceStat'
    b'sResult\x126\n\x07history\x18\x0b \x01(\x0b2%.notif'
    b'ications.protocol.HistoryResult\x12'
    b'0\n\x04ping\x18\x0c \x01(\x0b2".notifications.pr'
    b'otocol.PingResult\x12.\n\x03rpc\x18\r \x01(\x0b2!'
    b'.notifications.protocol.RPCResul'
    b't\x126\n\x07refresh\x18\x0e \x01(\x0b2%.notificatio'
    b'ns.protocol.RefreshResult\x12=\n\x0bsub'
    b'_refresh\x18\x0f \x01(\x0b2(.notifications.p'
    b'rotocol.SubRefreshResultJ\x04\x08\x03\x10\x04"9'
    b'\n\x05Error\x12\x0c\n\x04code\x18\x01 \x01(\r\x12\x0f\n\x07message'
    b'\x18\x02 \x01(\t\x12\x11\n\ttemporary\x18\x03 \x01(\x08"\xe7\x02\n\x0bPu'
    b'blication\x12\x0c\n\x04data\x18\x04 \x01(\x0c\x120\n\x04info\x18'
    b'\x05 \x01(\x0b2".notifications.protocol.C'
    b'lientInfo\x12\x0e\n\x06offset\x18\x06 \x01(\x04\x12;\n\x04tag'
    b's\x18\x07 \x03(\x0b2-.notifications.protocol'
    b'.Publication.TagsEntry\x12\r\n\x05delta\x18'
    b'\x08 \x01(\x08\x12\x0c\n\x04time\x18\t \x01(\x03\x12\x0f\n\x07channel\x18\n'
    b' \x01(\t\x12\x0b\n\x03key\x18\x0b \x01(\t\x12\x0f\n\x07removed\x18\x0c \x01'
    b'(\x08\x12\r\n\x05score\x18\r \x01(\x12\x12\r\n\x05epoch\x18\x0e \x01(\t'
    b'\x12\x11\n\tprev_data\x18\x0f \x01(\x0c\x12\x0f\n\x07version\x18\x10'
    b' \x01(\x04\x1a+\n\tTagsEntry\x12\x0b\n\x03key\x18\x01 \x01(\t\x12\r'
    b'\n\x05value\x18\x02 \x01(\t:\x028\x01J\x04\x08\x01\x10\x02J\x04\x08\x02\x10\x03J\x04\x08'
    b'\x03\x10\x04"P\n\nClientInfo\x12\x0c\n\x04user\x18\x01 \x01(\t\x12'
    b'\x0e\n\x06client\x18\x02 \x01(\t\x12\x11\n\tconn_info\x18\x03 \x01'
    b'(\x0c\x12\x11\n\tchan_info\x18\x04 \x01(\x0c"\xfa\x02\n\rConnec'
    b'tResult\x12\x0e\n\x06client\x18\x01 \x01(\t\x12\x0f\n\x07versi'
    b'on\x18\x02 \x01(\t\x12\x0f\n\x07expires\x18\x03 \x01(\x08\x12\x0b\n\x03ttl'
    b'\x18\x04 \x01(\r\x12\x0c\n\x04data\x18\x05 \x01(\x0c\x12=\n\x04subs\x18\x06 \x03'
    b'(\x0b2/.notifications.protocol.Conn'
    b'ectResult.SubsEntry\x12\x0c\n\x04ping\x18\x07 \x01('
    b'\r\x12\x0c\n\x04pong\x18\x08 \x01(\x08\x12\x0f\n\x07session\x18\t \x01(\t'
    b'\x12\x0c\n\x04node\x18\n \x01(\t\x12\x0c\n\x04time\x18\x0b \x01(\x03\x12\x0c\n\x04'
    b'flag\x18\x0c \x01(\x03\x120\n\x04dict\x18\r \x01(\x0b2".notif'
    b'ications.protocol.Dictionary\x1aT\n\t'
    b'SubsEntry\x12\x0b\n\x03key\x18\x01 \x01(\t\x126\n\x05value\x18'
    b"\x02 \x01(\x0b2'.notifications.protocol.S"
    b'ubscribeResult:\x028\x01"8\n\nDictionary'
    b'\x12\n\n\x02id\x18\x01 \x01(\t\x12\x0c\n\x04data\x18\x02 \x01(\x0c\x12\x10\n\x08da'
    b'ta_b64\x18\x03 \x01(\t"\x8d\x03\n\x0fSubscribeResult'
    b'\x12\x0f\n\x07expires\x18\x01 \x01(\x08\x12\x0b\n\x03ttl\x18\x02 \x01(\r\x12\x13'
    b'\n\x0brecoverable\x18\x03 \x01(\x08\x12\r\n\x05epoch\x18\x06 \x01'
    b'(\t\x129\n\x0cpublications\x18\x07 \x03(\x0b2#.notif'
    b'ications.protocol.Publication\x12\x11\n'
    b'\trecovered\x18\x08 \x01(\x08\x12\x0e\n\x06offset\x18\t \x01(\x04'
    b'\x12\x12\n\npositioned\x18\n \x01(\x08\x12\x0c\n\x04data\x18\x0b \x01'
    b'(\x0c\x12\x16\n\x0ewas_recovering\x18\x0c \x01(\x08\x12\r\n\x05de'
    b'lta\x18\r \x01(\x08\x12\n\n\x02id\x18\x0e \x01(\x03\x12\x0c\n\x04type\x18\x0f '
    b'\x01(\x05\x12\r\n\x05phase\x18\x10 \x01(\x05\x12\x0e\n\x06cursor\x18\x11 \x01'
    b'(\t\x122\n\x05state\x18\x12 \x03(\x0b2#.notification'
    b's.protocol.Publication\x12\x18\n\x10publis'
    b'h_debounce\x18\x13 \x01(\rJ\x04\x08\x04\x10\x05J\x04\x08\x05\x10\x06"\x13\n\x11'
    b'UnsubscribeResult"\x0f\n\rPublishResu'
    b'lt"\xad\x01\n\x0ePresenceResult\x12F\n\x08presenc'
    b'e\x18\x01 \x03(\x0b24.notifications.protocol'
    b'.PresenceResult.PresenceEntry\x1aS\n'
    b'\rPresenceEntry\x12\x0b\n\x03key\x18\x01 \x01(\t\x121\n\x05v'
    b'alue\x18\x02 \x01(\x0b2".notifications.proto'
    b'col.ClientInfo:\x028\x01"=\n\x13PresenceSt'
    b'atsResult\x12\x13\n\x0bnum_clients\x18\x01 \x01(\r\x12\x11'
    b'\n\tnum_users\x18\x02 \x01(\r"i\n\rHistoryResu'
    b'lt\x129\n\x0cpublications\x18\x01 \x03(\x0b2#.notif'
    b'ications.protocol.Publication\x12\r\n'
    b'\x05epoch\x18\x02 \x01(\t\x12\x0e\n\x06offset\x18\x03 \x01(\x04"\x0c\n\n'
    b'PingResult"\x19\n\tRPCResult\x12\x0c\n\x04data\x18'
    b'\x01 \x01(\x0c"N\n\rRefreshResult\x12\x0e\n\x06client'
    b'\x18\x01 \x01(\t\x12\x0f\n\x07version\x18\x02 \x01(\t\x12\x0f\n\x07expir'
    b'es\x18\x03 \x01(\x08\x12\x0b\n\x03ttl\x18\x04 \x01(\r"d\n\x10SubRefr'
    b'eshResult\x12\x0f\n\x07expires\x18\x01 \x01(\x08\x12\x0b\n\x03tt'
    b'l\x18\x02 \x01(\r\x122\n\x05items\x18\x03 \x03(\x0b2#.notific'
    b'ations.protocol.Publication"\xf3\x03\n\x04'
    b'Push\x12\n\n\x02id\x18\x01 \x01(\x03\x12\x0f\n\x07channel\x18\x02 \x01('
    b'\t\x120\n\x03pub\x18\x04 \x01(\x0b2#.notifications.p'
    b'rotocol.Publication\x12*\n\x04join\x18\x05 \x01('
    b'\x0b2\x1c.notifications.protocol.Join\x12'
    b',\n\x05leave\x18\x06 \x01(\x0b2\x1d.notifications.p'
    b'rotocol.Leave\x128\n\x0bunsubscribe\x18\x07 \x01'
    b'(\x0b2#.notifications.protocol.Unsu'
    b'bscribe\x120\n\x07message\x18\x08 \x01(\x0b2\x1f.notif'
    b'ications.protocol.Message\x124\n\tsub'
    b'scribe\x18\t \x01(\x0b2!.notifications.pro'
    b'tocol.Subscribe\x120\n\x07connect\x18\n \x01(\x0b'
    b'2\x1f.notifications.protocol.Connec'
    b't\x126\n\ndisconnect\x18\x0b \x01(\x0b2".notifica'
    b'tions.protocol.Disconnect\x120\n\x07ref'
    b'resh\x18\x0c \x01(\x0b2\x1f.notifications.proto'
    b'col.RefreshJ\x04\x08\x03\x10\x04"8\n\x04Join\x120\n\x04inf'
    b'o\x18\x01 \x01(\x0b2".notifications.protocol'
    b'.ClientInfo"9\n\x05Leave\x120\n\x04info\x18\x01 \x01'
    b'(\x0b2".notifications.protocol.Clie'
    b'ntInfo"1\n\x0bUnsubscribe\x12\x0c\n\x04code\x18\x02 '
    b'\x01(\r\x12\x0e\n\x06reason\x18\x03 \x01(\tJ\x04\x08\x01\x10\x02"\x17\n\x07Mes'
    b'sage\x12\x0c\n\x04data\x18\x01 \x01(\x0c"m\n\tSubscribe\x12'
    b'\x13\n\x0brecoverable\x18\x01 \x01(\x08\x12\r\n\x05epoch\x18\x04 '
    b'\x01(\t\x12\x0e\n\x06offset\x18\x05 \x01(\x04\x12\x12\n\npositione'
    b'd\x18\x06 \x01(\x08\x12\x0c\n\x04data\x18\x07 \x01(\x0cJ\x04\x08\x02\x10\x03J\x04\x08\x03\x10'
    b'\x04"\xae\x02\n\x07Connect\x12\x0e\n\x06client\x18\x01 \x01(\t\x12\x0f\n'
    b'\x07version\x18\x02 \x01(\t\x12\x0c\n\x04data\x18\x03 \x01(\x0c\x127\n\x04'
    b'subs\x18\x04 \x03(\x0b2).notifications.proto'
    b'col.Connect.SubsEntry\x12\x0f\n\x07expires'
    b'\x18\x05 \x01(\x08\x12\x0b\n\x03ttl\x18\x06 \x01(\r\x12\x0c\n\x04ping\x18\x07 \x01('
    b'\r\x12\x0c\n\x04pong\x18\x08 \x01(\x08\x12\x0f\n\x07session\x18\t \x01(\t'
    b'\x12\x0c\n\x04node\x18\n \x01(\t\x12\x0c\n\x04time\x18\x0b \x01(\x03\x1aT\n\t'
    b'SubsEntry\x12\x0b\n\x03key\x18\x01 \x01(\t\x126\n\x05value\x18'
    b"\x02 \x01(\x0b2'.notifications.protocol.S"
    b'ubscribeResult:\x028\x01"=\n\nDisconnect'
    b'\x12\x0c\n\x04code\x18\x01 \x01(\r\x12\x0e\n\x06reason\x18\x02 \x01(\t\x12\x11'
    b'\n\treconnect\x18\x03 \x01(\x08"\'\n\x07Refresh\x12\x0f\n\x07'
    b'expires\x18\x01 \x01(\x08\x12\x0b\n\x03ttl\x18\x02 \x01(\rb\x06prot'
    b'o3'
)

Command = GetMessageClass(DESCRIPTOR.message_types_by_name["Command"])
Numbered = GetMessageClass(DESCRIPTOR.message_types_by_name["Numbered"])
ConnectRequest = GetMessageClass(DESCRIPTOR.message_types_by_name["ConnectRequest"])
SubscribeRequest = GetMessageClass(DESCRIPTOR.message_types_by_name["SubscribeRequest"])
FilterNode = GetMessageClass(DESCRIPTOR.message_types_by_name["FilterNode"])
UnsubscribeRequest = GetMessageClass(DESCRIPTOR.message_types_by_name["UnsubscribeRequest"])
PublishRequest = GetMessageClass(DESCRIPTOR.message_types_by_name["PublishRequest"])
PresenceRequest = GetMessageClass(DESCRIPTOR.message_types_by_name["PresenceRequest"])
PresenceStatsRequest = GetMessageClass(DESCRIPTOR.message_types_by_name["PresenceStatsRequest"])
StreamPosition = GetMessageClass(DESCRIPTOR.message_types_by_name["StreamPosition"])
HistoryRequest = GetMessageClass(DESCRIPTOR.message_types_by_name["HistoryRequest"])
PingRequest = GetMessageClass(DESCRIPTOR.message_types_by_name["PingRequest"])
SendRequest = GetMessageClass(DESCRIPTOR.message_types_by_name["SendRequest"])
RPCRequest = GetMessageClass(DESCRIPTOR.message_types_by_name["RPCRequest"])
RefreshRequest = GetMessageClass(DESCRIPTOR.message_types_by_name["RefreshRequest"])
KeyedItem = GetMessageClass(DESCRIPTOR.message_types_by_name["KeyedItem"])
TrackBatch = GetMessageClass(DESCRIPTOR.message_types_by_name["TrackBatch"])
SubRefreshRequest = GetMessageClass(DESCRIPTOR.message_types_by_name["SubRefreshRequest"])
EmulationRequest = GetMessageClass(DESCRIPTOR.message_types_by_name["EmulationRequest"])
Reply = GetMessageClass(DESCRIPTOR.message_types_by_name["Reply"])
Error = GetMessageClass(DESCRIPTOR.message_types_by_name["Error"])
Publication = GetMessageClass(DESCRIPTOR.message_types_by_name["Publication"])
ClientInfo = GetMessageClass(DESCRIPTOR.message_types_by_name["ClientInfo"])
ConnectResult = GetMessageClass(DESCRIPTOR.message_types_by_name["ConnectResult"])
Dictionary = GetMessageClass(DESCRIPTOR.message_types_by_name["Dictionary"])
SubscribeResult = GetMessageClass(DESCRIPTOR.message_types_by_name["SubscribeResult"])
UnsubscribeResult = GetMessageClass(DESCRIPTOR.message_types_by_name["UnsubscribeResult"])
PublishResult = GetMessageClass(DESCRIPTOR.message_types_by_name["PublishResult"])
PresenceResult = GetMessageClass(DESCRIPTOR.message_types_by_name["PresenceResult"])
PresenceStatsResult = GetMessageClass(DESCRIPTOR.message_types_by_name["PresenceStatsResult"])
HistoryResult = GetMessageClass(DESCRIPTOR.message_types_by_name["HistoryResult"])
PingResult = GetMessageClass(DESCRIPTOR.message_types_by_name["PingResult"])
RPCResult = GetMessageClass(DESCRIPTOR.message_types_by_name["RPCResult"])
RefreshResult = GetMessageClass(DESCRIPTOR.message_types_by_name["RefreshResult"])
SubRefreshResult = GetMessageClass(DESCRIPTOR.message_types_by_name["SubRefreshResult"])
Push = GetMessageClass(DESCRIPTOR.message_types_by_name["Push"])
Join = GetMessageClass(DESCRIPTOR.message_types_by_name["Join"])
Leave = GetMessageClass(DESCRIPTOR.message_types_by_name["Leave"])
Unsubscribe = GetMessageClass(DESCRIPTOR.message_types_by_name["Unsubscribe"])
Message = GetMessageClass(DESCRIPTOR.message_types_by_name["Message"])
Subscribe = GetMessageClass(DESCRIPTOR.message_types_by_name["Subscribe"])
Connect = GetMessageClass(DESCRIPTOR.message_types_by_name["Connect"])
Disconnect = GetMessageClass(DESCRIPTOR.message_types_by_name["Disconnect"])
Refresh = GetMessageClass(DESCRIPTOR.message_types_by_name["Refresh"])
