"""Header sections as receivers write them: their forms of Received, Authentication-Results and ARC, with example domains.

``{id}``, ``{author}`` and ``{path}`` stand for the Message-ID, the From mailbox and the envelope sender.
"""

from __future__ import annotations

GMAIL = """\
Delivered-To: ada@gmail.com
Received: by 2002:a05:6f02:1c02:b0:5a:1f3b:90de with SMTP id q2csp41235rcg;
        Mon, 2 Mar 2026 01:01:02 -0800 (PST)
X-Received: by 2002:a17:907:3f0b:b0:b73:2d1e:7a2 with SMTP id hq11mr201ejc.3.1772442062;
        Mon, 02 Mar 2026 01:01:02 -0800 (PST)
ARC-Seal: i=1; a=rsa-sha256; t=1772442062; cv=none;
        d=google.com; s=arc-20240605; b=Qm9yZWQ=
ARC-Authentication-Results: i=1; mx.google.com;
       dkim=pass header.i=@brightleaf.example header.s=k1 header.b=Ab3dEf9h;
       spf=pass (google.com: domain of {path} designates 192.0.2.10 as permitted sender) smtp.mailfrom={path};
       dmarc=pass (p=NONE sp=NONE dis=NONE) header.from=brightleaf.example
Return-Path: <{path}>
Received: from mail.relay.example (mail.relay.example. [192.0.2.10])
        by mx.google.com with ESMTPS id a1-20020a170906b000si123456ejz.1.2026.03.02.01.01.02
        for <ada@gmail.com>
        (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256);
        Mon, 02 Mar 2026 01:01:02 -0800 (PST)
Received-SPF: pass (google.com: domain of {path} designates 192.0.2.10 as permitted sender) client-ip=192.0.2.10;
Authentication-Results: mx.google.com;
       dkim=pass header.i=@brightleaf.example header.s=k1 header.b=Ab3dEf9h;
       spf=pass (google.com: domain of {path} designates 192.0.2.10 as permitted sender) smtp.mailfrom={path};
       dmarc=pass (p=NONE sp=NONE dis=NONE) header.from=brightleaf.example
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=brightleaf.example; s=k1; h=From:To; bh=x; b=Ab3dEf9h
From: Brightleaf <{author}>
To: Ada Fairweather <ada@gmail.com>
Subject: Welcome
Message-ID: {id}
"""

# The recipient's domain stands between the results, and there is no authserv-id.
OUTLOOK = """\
Received: from AM0PR01MB1234.eurprd01.prod.exchangelabs.com (2603:10a6:208::1)
 by AM0PR01MB5678.eurprd01.prod.exchangelabs.com with HTTPS; Mon, 2 Mar 2026 09:01:03 +0000
Authentication-Results: spf=pass (sender IP is 192.0.2.10)
 smtp.mailfrom=brightleaf.example; fairweather.onmicrosoft.com; dkim=pass (signature was
 verified) header.d=brightleaf.example;fairweather.onmicrosoft.com; dmarc=pass
 action=none header.from=brightleaf.example;compauth=pass reason=100
Received-SPF: Pass (protection.outlook.com: domain of brightleaf.example designates
 192.0.2.10 as permitted sender) receiver=protection.outlook.com; client-ip=192.0.2.10; pr=C
Received: from mail.relay.example (192.0.2.10) by
 AM0EUR02FT012.mail.protection.outlook.com (10.13.54.12) with Microsoft SMTP Server id 15.20.9745.29;
 Mon, 2 Mar 2026 09:01:02 +0000
From: Brightleaf <{author}>
To: ada@fairweather.example
Message-ID: {id}
Return-Path: {path}
X-MS-Exchange-Organization-SCL: 1
"""

YAHOO = """\
X-Apparently-To: ada@yahoo.com; Mon, 2 Mar 2026 09:01:03 +0000
Return-Path: <{path}>
Received: from 192.0.2.10 (EHLO mail.relay.example)
 by 10.253.229.1 with SMTPs; Mon, 2 Mar 2026 09:01:02 +0000
Received-SPF: pass (domain of brightleaf.example designates 192.0.2.10 as permitted sender)
Authentication-Results: atlas-production.v2-mail-prod1-gq1.omega.yahoo.com;
 dkim=pass header.i=@brightleaf.example header.s=k1;
 dkim=pass header.i=@relay.example header.s=s2048;
 spf=pass smtp.mailfrom=brightleaf.example;
 dmarc=pass(p=NONE,sp=QUARANTINE) header.from=brightleaf.example;
From: Brightleaf <{author}>
Message-ID: {id}
"""

# Several fields of one server: the uppermost ones hold no SPF, DKIM or DMARC.
FASTMAIL = """\
Return-Path: <{path}>
Received: from phl-compute-01.internal (phl-compute-01.internal [10.202.2.1])
	by sloti1.internal (Cyrus 3.13) with LMTPA; Mon, 02 Mar 2026 04:01:03 -0500
Received: from phl-mx-08.internal ([10.202.2.207])
	by phl-compute-01.internal (LMTPProxy); Mon, 02 Mar 2026 04:01:03 -0500
Authentication-Results: phl-mx-08.messagingengine.com;
    x-csa=none;
    x-me-sender=none
Authentication-Results: phl-mx-08.messagingengine.com;
    bimi=skipped (DMARC Policy is not at enforcement)
Authentication-Results: phl-mx-08.messagingengine.com;
    arc=none (no signatures found)
Authentication-Results: phl-mx-08.messagingengine.com;
    dkim=pass (2048-bit rsa key sha256) header.d=brightleaf.example
    header.i=@brightleaf.example header.b=Ab3dEf9h header.a=rsa-sha256 header.s=k1 x-bits=2048;
    dmarc=pass policy.published-domain-policy=none policy.applied-disposition=none
    policy.evaluated-disposition=none (p=none,d=none,d.eval=none) policy.policy-from=p
    header.from=brightleaf.example;
    iprev=pass smtp.remote-ip=192.0.2.10 (mail.relay.example);
    spf=pass smtp.mailfrom={path} smtp.helo=mail.relay.example
Received: from mail.relay.example (mail.relay.example [192.0.2.10])
	by phl-mx-08.messagingengine.com (Postfix) with ESMTPS id 1
	for <ada@fastmail.com>; Mon,  2 Mar 2026 04:01:02 -0500 (EST)
From: Brightleaf <{author}>
Message-ID: {id}
"""

# Postfix with OpenDKIM, a policy server for SPF, and no DMARC: one field for each method.
POSTFIX = """\
Return-Path: <{path}>
X-Original-To: ada@fairweather.example
Delivered-To: ada@fairweather.example
Received: from mail.relay.example (mail.relay.example [192.0.2.10])
	(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))
	by mx.fairweather.example (Postfix) with ESMTPS id 4ABCDE1
	for <ada@fairweather.example>; Mon,  2 Mar 2026 10:01:02 +0100 (CET)
Authentication-Results: mx.fairweather.example;
	dkim=pass (2048-bit key; unprotected) header.d=brightleaf.example header.i=@brightleaf.example
	header.a=rsa-sha256 header.s=k1 header.b="Ab3d;f9h"
Authentication-Results: mx.fairweather.example; spf=pass (sender SPF authorized) smtp.mailfrom=brightleaf.example
	(client-ip=192.0.2.10; helo=mail.relay.example; envelope-from={path}; receiver=ada@fairweather.example)
From: Brightleaf <{author}>
Message-ID: {id}
"""

# A server of its own for each method; the receiving host has a name of another domain.
ICLOUD = """\
Return-path: <{path}>
X-Apple-Action: MOVE_TO_FOLDER/INBOX
Received: from mail.relay.example (mail.relay.example [192.0.2.10])
	by st43p00im-qukt05021701.me.com (Postfix) with ESMTPS id EC1AC39C0207
	for <ada@icloud.com>; Mon,  2 Mar 2026 09:01:02 +0000 (UTC)
Authentication-Results: bimi.icloud.com; bimi=skipped reason="insufficient dmarc"
Authentication-Results: arc.icloud.com; arc=none
Authentication-Results: dmarc.icloud.com; dmarc=pass header.from=brightleaf.example
Authentication-Results: dkim-verifier.icloud.com;
	dkim=pass (2048-bit key) header.d=brightleaf.example header.i=@brightleaf.example header.b=Ab3dEf9h
Authentication-Results: spf.icloud.com; spf=pass (spf.icloud.com: domain of {path} designates 192.0.2.10 as
	permitted sender) smtp.mailfrom={path}
From: Brightleaf <{author}>
Message-ID: {id}
"""

ALL = {
    "gmail": GMAIL,
    "outlook": OUTLOOK,
    "yahoo": YAHOO,
    "fastmail": FASTMAIL,
    "postfix": POSTFIX,
    "icloud": ICLOUD,
}


def received(template: str, header_id: str, **changes: str) -> str:
    """Return a header section for one message."""
    values = {"author": "info@brightleaf.example", "path": "info@brightleaf.example", **changes}
    text = template.replace("{id}", header_id)
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text
